package io.sealpoint;

import java.nio.ByteBuffer;

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
     * Seals whole chunks, the last of which may be short, inside critical sections.
     *
     * @return how many sealed bytes now lie in {@code out} from {@code outOff}
     */
    int seal(byte[] in, int inOff, int inLen, byte[] out, int outOff) throws SealpointException {
        long sealer = acquire();
        try {
            return Native.sealerSeal(sealer, in, inOff, inLen, out, outOff);
        } finally {
            release();
        }
    }

    /** The same through a direct buffer, without critical sections: copy in, seal in place, copy out. */
    int sealThrough(ByteBuffer buffer, byte[] in, int inOff, int inLen, byte[] out, int outOff) throws SealpointException {
        int frame = 0;
        for (int done = 0; done < inLen; done += layout.chunk) {
            buffer.position(frame + layout.front);
            buffer.put(in, inOff + done, Math.min(layout.chunk, inLen - done));
            frame += layout.fullFrame;
        }
        int sealed;
        long sealer = acquire();
        try {
            sealed = Native.sealerSealDirect(sealer, buffer, inLen);
        } finally {
            release();
        }
        buffer.position(0);
        buffer.get(out, outOff, sealed);
        return sealed;
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
