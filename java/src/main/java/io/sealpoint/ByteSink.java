package io.sealpoint;

import java.io.Closeable;
import java.io.IOException;

/** Where a {@link SealedOutputStream} puts sealed bytes. */
public interface ByteSink extends Closeable {
    void write(byte[] bytes, int off, int len) throws IOException;

    void flush() throws IOException;

    /** Makes everything written so far durable and visible to readers. */
    void sync() throws IOException;
}
