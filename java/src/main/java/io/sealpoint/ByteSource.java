package io.sealpoint;

import java.io.Closeable;
import java.io.IOException;

/** Where a {@link SealedInputStream} takes sealed bytes from. */
public interface ByteSource extends Closeable {
    /** As {@link java.io.InputStream#read(byte[], int, int)}. */
    int read(byte[] bytes, int off, int len) throws IOException;

    void seek(long position) throws IOException;
}
