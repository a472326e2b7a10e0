package io.sealpoint;

/**
 * The native functions, one to one. Nothing here is checked: {@link SealpointEngine}, {@link Sealer} and {@link Opener} guard every handle, and
 * {@link NativeLoader} must have loaded the library. Each function but the first two throws {@link SealpointException}.
 */
final class Native {
    private Native() {}

    static native int abiVersion();

    static native String version();

    static native long engineOpen(String[] keysAndValues) throws SealpointException;

    static native void engineClose(long engine);

    static native void engineBeginEpoch(long engine, String scope, long checkpointId) throws SealpointException;

    static native void engineCoordinate(long engine) throws SealpointException;

    /** The number of failures, and the report in JSON. */
    static native String[] engineRewrap(long engine, String uri, String to, boolean dryRun, int kmsRate, int storeRate) throws SealpointException;

    /** Pending log lines, each "LEVEL message". */
    static native String[] engineDrainLog(long engine) throws SealpointException;

    static native String engineMetrics(long engine) throws SealpointException;

    static native long sealerOpen(long engine, String path, String subject) throws SealpointException;

    /** Copies the head if {@code out} is long enough; always returns its length. */
    static native int sealerHead(long sealer, byte[] out) throws SealpointException;

    /** Chunk size << 32 | front << 16 | tail. */
    static native long sealerLayout(long sealer) throws SealpointException;

    static native int sealerSealedLength(long sealer, int plaintext) throws SealpointException;

    /** Inside critical sections. The caller has checked both ranges: the native side trusts them. */
    static native int sealerSeal(long sealer, byte[] in, int inOff, int inLen, byte[] out, int outOff, int outLen) throws SealpointException;

    /** The same, a frame at a time through native memory, without critical sections. */
    static native int sealerSealCopied(long sealer, byte[] in, int inOff, int inLen, byte[] out, int outOff, int outLen)
            throws SealpointException;

    static native int sealerFinish(long sealer, byte[] out, int outOff) throws SealpointException;

    static native void sealerClose(long sealer);

    /** A handle, or the negated number of bytes needed when the head is longer than given. Calls {@link ByteSource#sidecar} where it must. */
    static native long openerOpen(long engine, String path, String subject, ByteSource source, byte[] head, int off, int len)
            throws SealpointException;

    static native int openerHeadLength(long opener) throws SealpointException;

    static native long openerLayout(long opener) throws SealpointException;

    /**
     * Inside critical sections. The caller has checked both ranges: the native side trusts them. Returns consumed << 32 | produced; bit 63 set
     * where wants and start must be asked for again.
     */
    static native long openerOpenFrames(long opener, byte[] in, int inOff, int inLen, byte[] out, int outOff, int outLen)
            throws SealpointException;

    /** The same, a frame at a time through native memory, without critical sections. */
    static native long openerOpenFramesCopied(long opener, byte[] in, int inOff, int inLen, byte[] out, int outOff, int outLen)
            throws SealpointException;

    static native long openerWants(long opener) throws SealpointException;

    static native long openerStart(long opener) throws SealpointException;

    static native long openerLength(long opener) throws SealpointException;

    static native void openerSeek(long opener, long plaintextOffset) throws SealpointException;

    static native boolean openerEof(long opener, byte[] rest, int off, int len) throws SealpointException;

    static native long openerVerifyEnd(long opener, byte[] tail, int off, int len, long fileLength) throws SealpointException;

    static native void openerClose(long opener);

    /** Each file that Flink's metadata name: "whole|unsized|segment|directory NUMBER relative|absolute PATH". */
    static native String[] metadataReferences(byte[] metadata) throws SealpointException;

    /** Copies the commitment that a head ends with, and returns the head's length; or the negated number of bytes needed. */
    static native int manifestHead(byte[] bytes, int length, byte[] commitment) throws SealpointException;

    /** The plaintext of a manifest. The commitments lie one after another. */
    static native byte[] manifestOf(String directory, String[] paths, byte[] commitments, long[] lengths, boolean[] grows) throws SealpointException;

    /** Throws what is wrong with the first of these files that is not the one in the manifest. */
    static native void manifestCompare(byte[] manifest, String directory, String[] paths, byte[] commitments, long[] lengths)
            throws SealpointException;

    /** The same metadata with these paths, one for each reference in order; null leaves one as it is. */
    static native byte[] metadataRelocated(byte[] metadata, String[] paths) throws SealpointException;
}
