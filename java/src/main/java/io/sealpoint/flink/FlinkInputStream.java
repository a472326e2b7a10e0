package io.sealpoint.flink;

import io.sealpoint.ArrayMode;
import io.sealpoint.SealedInputStream;
import io.sealpoint.SealpointEngine;
import io.sealpoint.SealpointException;

import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;

/**
 * A sealed file that Flink reads. What cannot be opened is said in the log as well: where Flink downloads several files at once, the first
 * refusal ends the others, and it may show one of those ("registry is already closed") instead.
 */
final class FlinkInputStream extends FSDataInputStream {
    private static final Logger LOG = LoggerFactory.getLogger(FlinkInputStream.class);

    private final SealedInputStream in;

    private FlinkInputStream(SealedInputStream in) {
        this.in = in;
    }

    /** @param subject the name that the file must carry inside, or null */
    static FlinkInputStream open(SealpointEngine engine, FlinkSource source, ArrayMode arrays, Path file, String subject)
            throws IOException {
        try {
            return new FlinkInputStream(SealedInputStream.open(engine, source, arrays, file.toString(), subject));
        } catch (SealpointException refusal) {
            throw said(refusal);
        }
    }

    @Override
    public int read() throws IOException {
        try {
            return in.read();
        } catch (SealpointException refusal) {
            throw said(refusal);
        }
    }

    @Override
    public int read(byte[] bytes, int off, int len) throws IOException {
        try {
            return in.read(bytes, off, len);
        } catch (SealpointException refusal) {
            throw said(refusal);
        }
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

    private static SealpointException said(SealpointException refusal) {
        LOG.error("Sealpoint refuses a file: {}", refusal.getMessage());
        return refusal;
    }
}
