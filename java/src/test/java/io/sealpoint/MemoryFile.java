package io.sealpoint;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.concurrent.ThreadLocalRandom;

/** A file in memory: what was synced, flushed and closed is noted, reads return as little as they please. */
final class MemoryFile {
    final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    int syncs;
    int closes;

    ByteSink sink() {
        return new ByteSink() {
            @Override
            public void write(byte[] from, int off, int len) {
                bytes.write(from, off, len);
            }

            @Override
            public void flush() {}

            @Override
            public void sync() {
                syncs++;
            }

            @Override
            public void close() {
                closes++;
            }
        };
    }

    static ByteSource source(byte[] content) {
        return source(content, false);
    }

    /** A source that gives a random part of what is asked for, as remote stores do. */
    static ByteSource meagreSource(byte[] content) {
        return source(content, true);
    }

    private static ByteSource source(byte[] content, boolean meagre) {
        return new ByteSource() {
            private long position;
            private boolean closed;

            @Override
            public int read(byte[] to, int off, int len) throws IOException {
                if (closed) {
                    throw new IOException("read after close");
                }
                if (position >= content.length) {
                    return -1;
                }
                int count = (int) Math.min(len, content.length - position);
                if (meagre && count > 1) {
                    count = ThreadLocalRandom.current().nextInt(1, count + 1);
                }
                System.arraycopy(content, (int) position, to, off, count);
                position += count;
                return count;
            }

            @Override
            public void seek(long to) {
                position = to;
            }

            @Override
            public void close() {
                closed = true;
            }
        };
    }
}
