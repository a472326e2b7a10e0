package io.sealpoint;

import java.io.IOException;

/** Reads as much of a file as its head needs, and makes an opener of it. */
final class HeadReader {
    private static final byte[] MAGIC = {'S', 'E', 'A', 'L', 'P', 'N', 'T', '\n'};
    private static final int USUAL_HEAD = 1024;

    final Opener opener;
    /** What was read: the head and whatever came with it. */
    final byte[] bytes;

    final int length;

    private HeadReader(Opener opener, byte[] bytes, int length) {
        this.opener = opener;
        this.bytes = bytes;
        this.length = length;
    }

    /**
     * Opens a file whose first {@code length} bytes lie in {@code bytes}; more are read from {@code source} as the head needs them.
     */
    static HeadReader open(SealpointEngine engine, ByteSource source, byte[] bytes, int length, String path, String subject)
            throws IOException {
        byte[] head = bytes;
        int have = length;
        int needed = 1;
        while (true) {
            if (head.length < needed) {
                head = Scratch.grow(head, 0, have, needed);
            }
            while (have < needed) {
                int read = source.read(head, have, head.length - have);
                if (read < 0) {
                    throw endsWithinHead(head, have);
                }
                have += read;
            }
            // Most heads are far shorter than what came with the first read.
            Opener.Result result = engine.opener(path, subject, source, head, 0, Math.min(have, Math.max(needed, USUAL_HEAD)));
            if (result.opener != null) {
                return new HeadReader(result.opener, head, have);
            }
            needed = result.needed;
        }
    }

    /** Whether these bytes, the first of a file, begin like a sealed file. */
    static boolean isSealed(byte[] bytes, int length) {
        if (length < MAGIC.length) {
            return false;
        }
        for (int i = 0; i < MAGIC.length; i++) {
            if (bytes[i] != MAGIC[i]) {
                return false;
            }
        }
        return true;
    }

    /** The error, led by the file's path unless it already names it. */
    static SealpointException named(SealpointException error, String path) {
        return String.valueOf(error.getMessage()).contains(path) ? error : error.at(path);
    }

    static SealpointException endsWithinHead(byte[] bytes, int length) {
        for (int i = 0; i < Math.min(length, MAGIC.length); i++) {
            if (bytes[i] != MAGIC[i]) {
                return notSealed("it does not begin like one");
            }
        }
        return length == 0
                ? notSealed("it is empty")
                : SealpointException.of(ErrorCode.TRUNCATED, "the file ends within its head, after " + length + " bytes");
    }

    private static SealpointException notSealed(String why) {
        return SealpointException.of(ErrorCode.NOT_SEALED, "a sealed file is required here, and this is not one: " + why);
    }
}
