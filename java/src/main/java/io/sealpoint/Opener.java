package io.sealpoint;

import java.util.Objects;

/** Opens one file, frame by frame, verifying each before a byte of it is released. */
public final class Opener extends NativeResource {
    private final Layout layout;
    private final int headLength;

    private Opener(long address) throws SealpointException {
        super(address, Native::openerClose);
        this.layout = new Layout(Native.openerLayout(address));
        this.headLength = Native.openerHeadLength(address);
    }

    /** Either an opener, or how many bytes of the file are needed to make one. */
    static final class Result {
        final Opener opener;
        final int needed;

        private Result(Opener opener, int needed) {
            this.opener = opener;
            this.needed = needed;
        }
    }

    static Result own(long addressOrNeed) throws SealpointException {
        return addressOrNeed > 0 ? new Result(new Opener(addressOrNeed), 0) : new Result(null, (int) -addressOrNeed);
    }

    Layout layout() {
        return layout;
    }

    int headLength() {
        return headLength;
    }

    /** Opens the next frames that fit in {@code outLen} bytes; the result is that of {@link Native#openerOpenFrames}. */
    long open(ArrayMode mode, byte[] in, int inOff, int inLen, byte[] out, int outOff, int outLen) throws SealpointException {
        Objects.checkFromIndexSize(inOff, inLen, in.length);
        Objects.checkFromIndexSize(outOff, outLen, out.length);
        long opener = acquire();
        try {
            return mode == ArrayMode.CRITICAL
                    ? Native.openerOpenFrames(opener, in, inOff, inLen, out, outOff, outLen)
                    : Native.openerOpenFramesCopied(opener, in, inOff, inLen, out, outOff, outLen);
        } finally {
            release();
        }
    }

    /** The file offset of the next sealed byte to supply. */
    long wants() throws SealpointException {
        long opener = acquire();
        try {
            return Native.openerWants(opener);
        } finally {
            release();
        }
    }

    /** The plaintext offset of the first byte that the last call produced. */
    long start() throws SealpointException {
        long opener = acquire();
        try {
            return Native.openerStart(opener);
        } finally {
            release();
        }
    }

    /** The length of the plaintext, or -1 while no end has been verified. */
    long length() throws SealpointException {
        long opener = acquire();
        try {
            return Native.openerLength(opener);
        } finally {
            release();
        }
    }

    void seek(long plaintextOffset) throws SealpointException {
        long opener = acquire();
        try {
            Native.openerSeek(opener, plaintextOffset);
        } finally {
            release();
        }
    }

    /** There is nothing after these bytes. True at a verified end; false to go on at {@link #wants}. */
    boolean eof(byte[] rest, int off, int len) throws SealpointException {
        long opener = acquire();
        try {
            return Native.openerEof(opener, rest, off, len);
        } finally {
            release();
        }
    }

    /** Verifies the end of a file from its last bytes and returns the length of the plaintext. */
    long verifyEnd(byte[] tail, int off, int len, long fileLength) throws SealpointException {
        long opener = acquire();
        try {
            return Native.openerVerifyEnd(opener, tail, off, len, fileLength);
        } finally {
            release();
        }
    }

    /** Whether wants and start must be asked for again. */
    static boolean moved(long result) {
        return result < 0;
    }

    static int consumed(long result) {
        return (int) (result >>> 32) & Integer.MAX_VALUE;
    }

    static int produced(long result) {
        return (int) result;
    }

    /** The prefix of the frame that begins here: its plaintext length, negative at the end of a file. */
    static int prefix(byte[] sealed, int at) {
        return (sealed[at] & 0xff) << 24 | (sealed[at + 1] & 0xff) << 16 | (sealed[at + 2] & 0xff) << 8 | sealed[at + 3] & 0xff;
    }
}
