package io.sealpoint;

import java.util.Objects;

/** Seals one file, frame by frame. Its frame counter is native, spent before a frame is sealed, and never goes back. */
public final class Sealer extends NativeResource {
    private final Layout layout;

    private Sealer(long address) throws SealpointException {
        super(address, Native::sealerClose);
        this.layout = new Layout(Native.sealerLayout(address));
    }

    static Sealer own(long address) throws SealpointException {
        return new Sealer(address);
    }

    Layout layout() {
        return layout;
    }

    /** Copies the head, the bytes a file begins with, to {@code out} if it is long enough; always returns its length. */
    int head(byte[] out) throws SealpointException {
        long sealer = acquire();
        try {
            return Native.sealerHead(sealer, out);
        } finally {
            release();
        }
    }

    /**
     * Seals whole chunks, the last of which may be short.
     *
     * @return how many sealed bytes now lie in {@code out} from {@code outOff}
     */
    int seal(ArrayMode mode, byte[] in, int inOff, int inLen, byte[] out, int outOff) throws SealpointException {
        Objects.checkFromIndexSize(inOff, inLen, in.length);
        int outLen = out.length - Objects.checkIndex(outOff, out.length);
        long sealer = acquire();
        try {
            return mode == ArrayMode.CRITICAL
                    ? Native.sealerSeal(sealer, in, inOff, inLen, out, outOff, outLen)
                    : Native.sealerSealCopied(sealer, in, inOff, inLen, out, outOff, outLen);
        } finally {
            release();
        }
    }

    /** Writes the end of the file to {@code out}; nothing can be sealed afterwards. */
    int finish(byte[] out, int outOff) throws SealpointException {
        long sealer = acquire();
        try {
            return Native.sealerFinish(sealer, out, outOff);
        } finally {
            release();
        }
    }
}
