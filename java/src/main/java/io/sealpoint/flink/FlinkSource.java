package io.sealpoint.flink;

import io.sealpoint.ByteSource;

import org.apache.flink.core.fs.FSDataInputStream;

import java.io.IOException;

/** Sealed bytes from a file of Flink's. */
final class FlinkSource implements ByteSource {
    private final FSDataInputStream in;

    FlinkSource(FSDataInputStream in) {
        this.in = in;
    }

    @Override
    public int read(byte[] bytes, int off, int len) throws IOException {
        return in.read(bytes, off, len);
    }

    @Override
    public void seek(long position) throws IOException {
        in.seek(position);
    }

    @Override
    public void close() throws IOException {
        in.close();
    }
}
