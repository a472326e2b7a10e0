package io.sealpoint.bench;

import io.sealpoint.ArrayMode;
import io.sealpoint.ByteSink;
import io.sealpoint.ByteSource;
import io.sealpoint.SealedInputStream;
import io.sealpoint.SealedOutputStream;
import io.sealpoint.SealpointEngine;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Map;

/** Sealpoint's own streams over a local keyring: what the Flink file system does, without a file system. */
final class SealpointPeer implements Peer {

    /** System property: the keyring, made by {@code sealpoint keyring create}. */
    static final String KEYRING = "bench.keyring";
    /** System property: auto, critical or direct, as {@code sealpoint.jni.arrays}. */
    static final String ARRAYS = "bench.arrays";

    private static final String PATH = "/checkpoints/chk-1/file";

    private final SealpointEngine engine;
    private final ArrayMode mode;

    SealpointPeer() throws IOException {
        engine = SealpointEngine.open(Map.of("kms.provider", "local", "kms.local.keyring", System.getProperty(KEYRING)));
        mode = ArrayMode.parse(System.getProperty(ARRAYS, "auto"));
    }

    /** The engine draws its first data key in the background, long before a job takes its first checkpoint. */
    @Override
    public void awaitKeys() throws Exception {
        while (Metrics.of(engine.metrics()).getOrDefault("heliosdb_data_keys_drawn_total", 0.0) < 1) {
            Thread.sleep(5);
        }
    }

    SealpointEngine engine() {
        return engine;
    }

    @Override
    public OutputStream sealing(OutputStream inner) throws IOException {
        return new SealedOutputStream(new Sink(inner), engine.sealer(PATH, null), mode, PATH);
    }

    @Override
    public InputStream opening(SealedFile sealed) throws IOException {
        return SealedInputStream.open(engine, new Source(sealed.bytes()), mode, PATH, null);
    }

    private static final class Sink implements ByteSink {
        private final OutputStream inner;

        Sink(OutputStream inner) {
            this.inner = inner;
        }

        @Override
        public void write(byte[] bytes, int off, int len) throws IOException {
            inner.write(bytes, off, len);
        }

        @Override
        public void flush() throws IOException {
            inner.flush();
        }

        @Override
        public void sync() throws IOException {
            inner.flush();
        }

        @Override
        public void close() throws IOException {
            inner.close();
        }
    }

    private static final class Source implements ByteSource {
        private final byte[] bytes;
        private int position;

        Source(byte[] bytes) {
            this.bytes = bytes;
        }

        @Override
        public int read(byte[] out, int off, int len) {
            int count = Math.min(len, bytes.length - position);
            if (count <= 0) {
                return len == 0 ? 0 : -1;
            }
            System.arraycopy(bytes, position, out, off, count);
            position += count;
            return count;
        }

        @Override
        public void seek(long to) throws IOException {
            if (to > bytes.length) {
                throw new EOFException("past the end");
            }
            position = (int) to;
        }

        @Override
        public void close() {}
    }
}
