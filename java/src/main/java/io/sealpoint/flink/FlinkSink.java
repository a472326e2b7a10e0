package io.sealpoint.flink;

import io.sealpoint.ByteSink;

import org.apache.flink.core.fs.FSDataOutputStream;

import java.io.IOException;

/** Sealed bytes on their way to a file of Flink's. */
final class FlinkSink implements ByteSink {
    private final FSDataOutputStream out;

    FlinkSink(FSDataOutputStream out) {
        this.out = out;
    }

    @Override
    public void write(byte[] bytes, int off, int len) throws IOException {
        out.write(bytes, off, len);
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
