package io.sealpoint.flink;

import io.sealpoint.SealedOutputStream;

import org.apache.flink.core.fs.FSDataOutputStream;

import java.io.IOException;

/** A sealed file that Flink writes. */
final class FlinkOutputStream extends FSDataOutputStream {
    private final SealedOutputStream out;

    FlinkOutputStream(SealedOutputStream out) {
        this.out = out;
    }

    @Override
    public void write(int b) throws IOException {
        out.write(b);
    }

    @Override
    public void write(byte[] bytes, int off, int len) throws IOException {
        out.write(bytes, off, len);
    }

    @Override
    public long getPos() {
        return out.position();
    }

    @Override
    public void flush() throws IOException {
        out.flush();
    }

    @Override
    public void sync() throws IOException {
        out.sync();
    }

    @Override
    public void close() throws IOException {
        out.close();
    }
}
