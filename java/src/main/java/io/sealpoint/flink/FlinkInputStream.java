package io.sealpoint.flink;

import io.sealpoint.SealedInputStream;

import org.apache.flink.core.fs.FSDataInputStream;

import java.io.IOException;

/** A sealed file that Flink reads. */
final class FlinkInputStream extends FSDataInputStream {
    private final SealedInputStream in;

    FlinkInputStream(SealedInputStream in) {
        this.in = in;
    }

    @Override
    public int read() throws IOException {
        return in.read();
    }

    @Override
    public int read(byte[] bytes, int off, int len) throws IOException {
        return in.read(bytes, off, len);
    }

    @Override
    public void seek(long target) throws IOException {
        in.seek(target);
    }

    @Override
    public long getPos() {
        return in.position();
    }

    @Override
    public long skip(long count) throws IOException {
        return in.skip(count);
    }

    @Override
    public int available() throws IOException {
        return in.available();
    }

    @Override
    public void close() throws IOException {
        in.close();
    }
}
