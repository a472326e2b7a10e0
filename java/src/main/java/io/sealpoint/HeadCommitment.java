package io.sealpoint;

import java.io.IOException;
import java.util.Arrays;

/**
 * What tells a sealed file from every other one: the commitment that its head ends with, which no two share. It is what the file says; opening
 * the file proves it.
 */
public final class HeadCommitment {
    static final int LENGTH = 32;
    private static final int FIRST_READ = 4 * 1024;

    private final byte[] bytes = new byte[LENGTH];
    private int headLength;

    private HeadCommitment() {}

    /** Reads the head at the start of {@code source}, and no key. */
    public static HeadCommitment read(ByteSource source, String path) throws IOException {
        NativeLoader.load();
        HeadCommitment read = new HeadCommitment();
        byte[] head = new byte[FIRST_READ];
        int have = 0;
        try {
            while (true) {
                int got = source.read(head, have, head.length - have);
                if (got < 0) {
                    throw HeadReader.endsWithinHead(head, have);
                }
                have += got;
                read.headLength = Native.manifestHead(head, have, read.bytes);
                if (read.headLength > 0) {
                    return read;
                }
                if (have == head.length) {
                    head = Arrays.copyOf(head, -read.headLength);
                }
            }
        } catch (SealpointException error) {
            throw HeadReader.named(error, path);
        }
    }

    /** How long the head is that it was read from. */
    public int headLength() {
        return headLength;
    }

    void copyTo(byte[] to, int off) {
        System.arraycopy(bytes, 0, to, off, LENGTH);
    }
}
