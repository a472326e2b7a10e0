package io.sealpoint;

import java.io.IOException;
import java.io.OutputStream;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Objects;
import java.util.concurrent.locks.LockSupport;

/**
 * Seals what is written to it, in constant memory.
 *
 * <p>One thread writes at a time, though not always the same one. {@link #close} may come from another thread in the middle of a write, as Flink's
 * cancellation does, even while that write hangs: it then closes the target at once, without another frame, so that the file has no end and
 * no reader takes it for whole. After any failure the stream is dead and never writes an end.
 */
public final class SealedOutputStream extends OutputStream {
    /** Nobody is inside. */
    private static final int IDLE = 0;
    /** One thread is inside and owns the fields below. */
    private static final int BUSY = 1;
    /** Closed while a thread was inside; that thread lets the buffers go when it leaves. */
    private static final int ABORTED = 2;
    private static final int CLOSED = 3;

    private static final VarHandle STATE;

    private static final int FIRST_BUFFER = 8 * 1024;
    private static final long CONTENTION_NANOS = 20_000;

    static {
        try {
            STATE = MethodHandles.lookup().findVarHandle(SealedOutputStream.class, "state", int.class);
        } catch (ReflectiveOperationException error) {
            throw new ExceptionInInitializerError(error);
        }
    }

    private final ByteSink sink;
    private final Sealer sealer;
    private final ArrayMode mode;
    private final String path;
    private final Layout layout;
    private final int batchLength;

    private volatile int state = IDLE;

    /** Plaintext that is not sealed yet. */
    private byte[] plain = Scratch.NONE;

    private int plainLength;
    /** Sealed bytes that are not written yet: the head before the first frames, empty otherwise. */
    private byte[] sealed = Scratch.NONE;

    private int sealedLength;
    private long position;
    private boolean dead;

    /**
     * Takes over {@code sink} and {@code sealer}; both are closed with the stream.
     *
     * @param path names the file in errors
     */
    public SealedOutputStream(ByteSink sink, Sealer sealer, ArrayMode mode, String path) throws IOException {
        this.sink = sink;
        this.sealer = sealer;
        this.mode = mode;
        this.path = path;
        this.layout = sealer.layout();
        this.batchLength = layout.batch() * layout.chunk;
        this.sealed = Scratch.array(FIRST_BUFFER);
        int head = sealer.head(sealed);
        if (head > sealed.length) {
            sealed = Scratch.array(head);
            sealer.head(sealed);
        }
        sealedLength = head;
    }

    @Override
    public void write(int b) throws IOException {
        enter();
        boolean done = false;
        try {
            if (plainLength == plain.length || plainLength == batchLength) {
                makeRoom();
            }
            plain[plainLength++] = (byte) b;
            position++;
            done = true;
        } finally {
            leave(done);
        }
    }

    @Override
    public void write(byte[] bytes, int off, int len) throws IOException {
        Objects.checkFromIndexSize(off, len, bytes.length);
        enter();
        boolean done = false;
        try {
            take(bytes, off, len);
            position += len;
            done = true;
        } finally {
            leave(done);
        }
    }

    /** Hands on what is sealed. A chunk that is not full stays here: only {@link #sync} cuts one short. */
    @Override
    public void flush() throws IOException {
        enter();
        boolean done = false;
        try {
            writeSealed();
            sink.flush();
            done = true;
        } finally {
            leave(done);
        }
    }

    /** Makes all that was written so far durable and readable, at the price of a short frame. */
    public void sync() throws IOException {
        enter();
        boolean done = false;
        try {
            sealPlain();
            writeSealed();
            sink.sync();
            done = true;
        } finally {
            leave(done);
        }
    }

    /** How many bytes of plaintext were written. */
    public long position() {
        return position;
    }

    @Override
    public void close() throws IOException {
        while (true) {
            int seen = state;
            if (seen == CLOSED || seen == ABORTED) {
                return;
            }
            if (seen == BUSY && STATE.compareAndSet(this, BUSY, ABORTED)) {
                sealer.close();
                sink.close();
                return;
            }
            if (seen == IDLE && STATE.compareAndSet(this, IDLE, BUSY)) {
                finish();
                return;
            }
        }
    }

    /** Writes the end and closes; entered in state BUSY, like a write. */
    private void finish() throws IOException {
        IOException failure = null;
        try {
            if (dead) {
                throw new IOException(path + ": an earlier write failed; the file has no end and must not be used");
            }
            sealPlain();
            reserve(Layout.MAX_END);
            sealedLength += sealer.finish(sealed, sealedLength);
            writeSealed();
        } catch (IOException error) {
            failure = named(error);
        } catch (RuntimeException | Error error) {
            failure = new IOException(path + ": cannot write the end of the file", error);
        }
        if (!STATE.compareAndSet(this, BUSY, CLOSED)) {
            release();
            throw aborted();
        }
        release();
        sealer.close();
        try {
            sink.close();
        } catch (IOException error) {
            if (failure == null) {
                throw error;
            }
            failure.addSuppressed(error);
        }
        if (failure != null) {
            throw failure;
        }
    }

    private void take(byte[] bytes, int off, int len) throws IOException {
        int from = off;
        int left = len;
        if (plainLength > 0) {
            // Where whole chunks follow, reach the next chunk boundary, so that they need no copy; otherwise fill a batch.
            int toBoundary = -plainLength & (layout.chunk - 1);
            int room = left - toBoundary >= layout.chunk ? toBoundary : batchLength - plainLength;
            int copied = Math.min(room, left);
            buffer(bytes, from, copied);
            from += copied;
            left -= copied;
            if (plainLength == batchLength || left >= layout.chunk) {
                sealPlain();
                writeSealed();
            }
        }
        while (left >= layout.chunk) {
            int batch = Math.min(left & -layout.chunk, batchLength);
            seal(bytes, from, batch);
            writeSealed();
            from += batch;
            left -= batch;
        }
        if (left > 0) {
            buffer(bytes, from, left);
        }
    }

    /** Copies to the buffer, which has room for it up to a batch. */
    private void buffer(byte[] bytes, int off, int len) {
        if (plain.length < plainLength + len) {
            grow(plainLength + len);
        }
        System.arraycopy(bytes, off, plain, plainLength, len);
        plainLength += len;
    }

    private void makeRoom() throws IOException {
        if (plainLength == batchLength) {
            sealPlain();
            writeSealed();
        } else {
            grow(plainLength + 1);
        }
    }

    /** Small files stay in a small buffer; what outgrows it gets one for a whole batch. */
    private void grow(int needed) {
        plain = Scratch.grow(plain, 0, plainLength, needed <= FIRST_BUFFER ? FIRST_BUFFER : batchLength);
    }

    private void sealPlain() throws IOException {
        if (plainLength > 0) {
            int len = plainLength;
            plainLength = 0;
            seal(plain, 0, len);
        }
    }

    /** Seals at most a batch behind what is sealed already. */
    private void seal(byte[] in, int off, int len) throws IOException {
        reserve(layout.sealedLength(len));
        try {
            sealedLength += sealer.seal(mode, in, off, len, sealed, sealedLength);
        } catch (SealpointException error) {
            throw named(error);
        }
    }

    private void reserve(int more) {
        if (sealed.length < sealedLength + more) {
            sealed = Scratch.grow(sealed, 0, sealedLength, sealedLength + more);
        }
    }

    private void writeSealed() throws IOException {
        if (sealedLength > 0) {
            int len = sealedLength;
            sealedLength = 0;
            sink.write(sealed, 0, len);
        }
    }

    private void enter() throws IOException {
        while (!STATE.compareAndSet(this, IDLE, BUSY)) {
            int seen = state;
            if (seen == CLOSED || seen == ABORTED) {
                throw new IOException(path + ": the stream is closed");
            }
            if (seen == BUSY) {
                LockSupport.parkNanos(CONTENTION_NANOS);
            }
        }
        if (dead) {
            leave(true);
            throw new IOException(path + ": an earlier write failed; nothing more can be written");
        }
    }

    private void leave(boolean done) throws IOException {
        if (!done) {
            dead = true;
        }
        if (!STATE.compareAndSet(this, BUSY, IDLE)) {
            release();
            if (done) {
                throw aborted();
            }
        }
    }

    private IOException aborted() {
        return new IOException(path + ": the stream was closed by another thread during a write; the file has no end");
    }

    private void release() {
        Scratch.give(plain);
        Scratch.give(sealed);
        plain = Scratch.NONE;
        sealed = Scratch.NONE;
        plainLength = 0;
        sealedLength = 0;
    }

    private IOException named(IOException error) {
        return error instanceof SealpointException && !String.valueOf(error.getMessage()).contains(path)
                ? ((SealpointException) error).at(path)
                : error;
    }
}
