package io.sealpoint;

/** Where the plaintext lies in the frames of one sealed file (docs/FORMAT.md, "File"). */
final class Layout {
    /** The longest end of any suite. */
    static final int MAX_END = 64;

    private static final int GCM_FRONT = 4;
    private static final int GCM_TAG = 16;
    private static final int CBC_BLOCK = 16;
    private static final int CBC_TAG = 32;
    private static final int END_FIELDS = 20;

    /** Bytes of plaintext in a full frame: a power of two, so that nothing has to be divided by it. */
    final int chunk;
    /** Bytes of a frame before its plaintext. */
    final int front;
    /** Bytes of a full frame. */
    final int fullFrame;

    private final int chunkShift;
    private final boolean padded;

    Layout(long packed) {
        chunk = (int) (packed >>> 32);
        chunkShift = Integer.numberOfTrailingZeros(chunk);
        front = (int) (packed >>> 16) & 0xffff;
        padded = front != GCM_FRONT;
        fullFrame = frameLength(chunk);
    }

    /** Bytes of a frame that holds this much plaintext. */
    int frameLength(int plaintext) {
        return padded ? front + (plaintext / CBC_BLOCK + 1) * CBC_BLOCK + CBC_TAG : front + plaintext + GCM_TAG;
    }

    /** Bytes of all the frames that hold this much plaintext, each full but the last. */
    int sealedLength(int plaintext) {
        int rest = plaintext & (chunk - 1);
        return (plaintext >>> chunkShift) * fullFrame + (rest == 0 ? 0 : frameLength(rest));
    }

    /** Bytes of plaintext in this many bytes of frames, if each is full but the last. */
    long plaintextWithin(long sealed) {
        return sealed / fullFrame * chunk + Math.max(0, sealed % fullFrame - frameLength(0));
    }

    /** Bytes of the end of the file: its prefix, two lengths and the tag. */
    int endLength() {
        return END_FIELDS + (padded ? CBC_TAG : GCM_TAG);
    }

    /** How many chunks one native call takes: about 64 KiB, at least one. */
    int batch() {
        return Math.max(1, 65536 / chunk);
    }
}
