package io.sealpoint;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.util.Objects;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Reads the plaintext of a sealed file, every frame verified before a byte of it is released, in constant memory. Positions are those of
 * the plaintext. One thread reads; {@link #close} may come from any thread.
 */
public final class SealedInputStream extends InputStream {
    private static final int FIRST_READ = 8 * 1024;
    /** A wrong guess, a walk from a wrong hint and a walk from the start take three turns; more would mean that the native side makes no progress. */
    private static final int MAX_TURNS_AT_END = 4;
    /** A skip within this many batches reads on; a longer one seeks. */
    private static final int SKIP_BATCHES = 2;

    private static final long NOWHERE = -1;

    private final ByteSource source;
    private final Opener opener;
    private final ArrayMode mode;
    private final String path;
    private final Layout layout;

    /** Sealed bytes read but not opened; the first of them lies at {@code sealedPosition} in the file. */
    private byte[] sealed;

    private int sealedStart;
    private int sealedEnd;
    private long sealedPosition;

    /** Plaintext opened but not delivered; the byte after the last of it has position {@code position}. */
    private byte[] plain = Scratch.NONE;

    private int plainStart;
    private int plainEnd;
    private long position;

    /** The position that the opener would go on at. Different from {@code position} after a seek. */
    private long openerPosition;

    /** Whether the sealed bytes begin with a frame whose prefix can be believed for choosing a buffer. */
    private boolean inStep = true;

    private boolean ended;
    /** The source refused to go to the position wanted: it lies past the end of the file. */
    private boolean beyondEnd;
    /** How many chunks to fetch at a time: one after a seek, more when reading goes on. */
    private int window = 1;

    /**
     * Who is inside: one thread that opens frames, or, for good, the one that closed the stream while none was. What the latter finds here
     * nobody else touches any more, except plaintext that is yet to be delivered, which single-byte reads take without looking here.
     */
    private final AtomicBoolean busy = new AtomicBoolean();

    private volatile boolean closed;

    /**
     * Reads and checks the head. Takes over {@code source}, which is closed if this fails.
     *
     * @param path where the file lies; names it in errors
     * @param subject the name that the file must carry inside, or null
     */
    public static SealedInputStream open(SealpointEngine engine, ByteSource source, ArrayMode mode, String path, String subject)
            throws IOException {
        try {
            HeadReader head = HeadReader.open(engine, source, Scratch.array(FIRST_READ), 0, path, subject);
            return new SealedInputStream(source, head, mode, path);
        } catch (SealpointException error) {
            closeAfter(error, source);
            throw HeadReader.named(error, path);
        } catch (IOException | RuntimeException | Error error) {
            closeAfter(error, source);
            throw error;
        }
    }

    private SealedInputStream(ByteSource source, HeadReader head, ArrayMode mode, String path) {
        this.source = source;
        this.opener = head.opener;
        this.mode = mode;
        this.path = path;
        this.layout = opener.layout();
        this.sealed = head.bytes;
        this.sealedStart = opener.headLength();
        this.sealedEnd = head.length;
        this.sealedPosition = sealedStart;
    }

    @Override
    public int read() throws IOException {
        if (plainStart == plainEnd && !fill()) {
            return -1;
        }
        return plain[plainStart++] & 0xff;
    }

    @Override
    public int read(byte[] bytes, int off, int len) throws IOException {
        Objects.checkFromIndexSize(off, len, bytes.length);
        checkOpen();
        if (len == 0) {
            return 0;
        }
        if (plainStart == plainEnd) {
            enter();
            try {
                if (takesNextFrame(len)) {
                    plainStart = 0;
                    plainEnd = 0;
                    return openNext(bytes, off, len);
                }
                if (!fillInside()) {
                    return -1;
                }
            } finally {
                leave();
            }
        }
        int copied = Math.min(len, plainEnd - plainStart);
        System.arraycopy(plain, plainStart, bytes, off, copied);
        plainStart += copied;
        return copied;
    }

    /** The plaintext position of the next byte. */
    public long position() {
        return position - (plainEnd - plainStart);
    }

    public void seek(long target) throws IOException {
        if (target < 0) {
            throw new IOException(path + ": cannot seek to the negative position " + target);
        }
        checkOpen();
        long first = position - plainEnd;
        if (target >= first && target <= position) {
            plainStart = (int) (target - first);
        } else {
            plainStart = 0;
            plainEnd = 0;
            position = target;
            window = 1;
            ended = false;
        }
    }

    @Override
    public long skip(long count) throws IOException {
        if (count <= 0) {
            return 0;
        }
        long from = position();
        if (count > plainEnd - plainStart + (long) SKIP_BATCHES * layout.batch() * layout.chunk) {
            seek(from + count);
            if (fill()) {
                return count;
            }
            // Beyond the end, whose place is known now.
            long length = opener.length();
            position = Math.max(from, Math.min(length, from + count));
            return position - from;
        }
        long left = count;
        while (left > 0 && (plainStart < plainEnd || fill())) {
            int step = (int) Math.min(left, plainEnd - plainStart);
            plainStart += step;
            left -= step;
        }
        return count - left;
    }

    /** At least one until the end is reached: bytes that are opened and verified. */
    @Override
    public int available() throws IOException {
        return plainStart < plainEnd || fill() ? plainEnd - plainStart : 0;
    }

    @Override
    public void close() throws IOException {
        if (closed) {
            return;
        }
        closed = true;
        if (busy.compareAndSet(false, true)) {
            Scratch.give(sealed);
            sealed = Scratch.NONE;
            // At the end there is nothing left to deliver. Before it a reader may be at the plaintext, so that is the garbage collector's.
            if (ended) {
                Scratch.give(plain);
                plain = Scratch.NONE;
            }
        }
        opener.close();
        source.close();
    }

    /** Whether the next frame surely fits in so many bytes, so that it can be opened to where it is wanted. */
    private boolean takesNextFrame(int len) {
        if (len >= layout.chunk) {
            return true;
        }
        if (!inStep || position != openerPosition || sealedEnd - sealedStart < Integer.BYTES) {
            return false;
        }
        return Opener.prefix(sealed, sealedStart) <= len;
    }

    /** Opens the next frames into the buffer; false at the end. */
    private boolean fill() throws IOException {
        enter();
        try {
            return fillInside();
        } finally {
            leave();
        }
    }

    private void enter() throws IOException {
        if (!busy.compareAndSet(false, true)) {
            throw closed ? closedError() : new IOException(path + ": another thread is reading this stream");
        }
    }

    private void leave() {
        busy.set(false);
    }

    private boolean fillInside() throws IOException {
        checkOpen();
        plainStart = 0;
        plainEnd = 0;
        int wanted = window * layout.chunk;
        if (inStep && position == openerPosition && sealedEnd - sealedStart >= Integer.BYTES) {
            int next = Opener.prefix(sealed, sealedStart);
            // A short frame is most likely the last, and nothing comes out of the end: no need for a large buffer.
            wanted = next < layout.chunk && next <= FIRST_READ ? Math.max(next, 0) : wanted;
        }
        if (plain.length < wanted) {
            Scratch.give(plain);
            plain = Scratch.NONE;
            plain = Scratch.array(wanted);
        }
        int produced = openNext(plain, 0, plain.length);
        if (produced < 0) {
            return false;
        }
        plainEnd = produced;
        return true;
    }

    /** Opens at least one frame at the current position; -1 at the end. */
    private int openNext(byte[] out, int off, int len) throws IOException {
        checkOpen();
        if (ended) {
            return -1;
        }
        try {
            if (position != openerPosition) {
                opener.seek(position);
                openerPosition = position;
                inStep = false;
                reposition();
            }
            return open(out, off, len);
        } catch (SealpointException error) {
            throw closed ? closedError() : HeadReader.named(error, path);
        }
    }

    private int open(byte[] out, int off, int len) throws IOException {
        int turnsAtEnd = 0;
        boolean stuck = false;
        while (true) {
            if (sealedEnd > sealedStart && !stuck) {
                long result = opener.open(mode, sealed, sealedStart, sealedEnd - sealedStart, out, off, len);
                int consumed = Opener.consumed(result);
                int produced = Opener.produced(result);
                if (Opener.moved(result)) {
                    reposition();
                } else {
                    sealedStart += consumed;
                    sealedPosition += consumed;
                }
                if (produced > 0 && (!inStep || Opener.moved(result))) {
                    produced = dropBefore(opener.start(), out, off, produced);
                }
                if (produced > 0) {
                    inStep = true;
                    position += produced;
                    openerPosition = position;
                    return produced;
                }
                // Bytes that hold no whole frame: more of them are needed.
                stuck = consumed == 0 && !Opener.moved(result);
            } else if (fetch()) {
                stuck = false;
            } else if (opener.eof(sealed, sealedStart, sealedEnd - sealedStart)) {
                ended = true;
                return -1;
            } else {
                if (++turnsAtEnd > MAX_TURNS_AT_END) {
                    throw SealpointException.of(ErrorCode.INTERNAL, "the opener makes no progress");
                }
                reposition();
                stuck = false;
            }
        }
    }

    /** Drops what lies before the target of a seek; returns how much remains. */
    private int dropBefore(long start, byte[] out, int off, int produced) throws IOException {
        long before = position - start;
        if (before < 0) {
            throw SealpointException.of(ErrorCode.INTERNAL, "the opener skipped plaintext");
        }
        if (before >= produced) {
            return 0;
        }
        System.arraycopy(out, off + (int) before, out, off, produced - (int) before);
        return produced - (int) before;
    }

    /** Makes the sealed bytes begin at the offset that the opener wants. */
    private void reposition() throws IOException {
        long wants = opener.wants();
        long ahead = wants - sealedPosition;
        beyondEnd = false;
        if (ahead >= 0 && ahead <= sealedEnd - sealedStart) {
            sealedStart += (int) ahead;
        } else {
            sealedStart = 0;
            sealedEnd = 0;
            try {
                source.seek(wants);
            } catch (EOFException pastTheEnd) {
                beyondEnd = true;
            } catch (IOException | RuntimeException error) {
                // Nobody knows where the source stands: whoever reads next goes to its place again.
                sealedPosition = NOWHERE;
                openerPosition = NOWHERE;
                throw error;
            }
        }
        sealedPosition = wants;
    }

    /** Reads at least as much as a full frame needs, if it is there; false if nothing is left. */
    private boolean fetch() throws IOException {
        if (beyondEnd) {
            return false;
        }
        int held = sealedEnd - sealedStart;
        int target = Math.max(window * layout.fullFrame, held >= layout.fullFrame ? held + layout.fullFrame : 0);
        if (sealed.length < target) {
            sealed = Scratch.grow(sealed, sealedStart, sealedEnd, target);
        } else if (held > 0) {
            System.arraycopy(sealed, sealedStart, sealed, 0, held);
        }
        sealedStart = 0;
        sealedEnd = held;
        window = layout.batch();
        int enough = Math.max(held + 1, layout.fullFrame);
        while (sealedEnd < enough) {
            int read = source.read(sealed, sealedEnd, target - sealedEnd);
            if (read < 0) {
                break;
            }
            sealedEnd += read;
        }
        return sealedEnd > held;
    }

    private void checkOpen() throws IOException {
        if (closed) {
            throw closedError();
        }
    }

    private IOException closedError() {
        return new IOException(path + ": the stream is closed");
    }

    private static void closeAfter(Throwable error, ByteSource source) {
        try {
            source.close();
        } catch (IOException second) {
            error.addSuppressed(second);
        }
    }
}
