package io.sealpoint;

import java.lang.ref.Cleaner;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongConsumer;

/**
 * A native object and the only place that knows its address. {@link #acquire} lends the address out until {@link #release}; closing while it
 * is lent frees the object at the last release, so a native call never meets a freed object. Closing twice is harmless, and an
 * object that nobody closed is freed once it is unreachable. Lending allocates nothing.
 */
abstract class NativeResource implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    private final Loan loan;
    private final Cleaner.Cleanable cleanable;

    /** Takes the object over; {@code free} must not refer to this instance. */
    NativeResource(long address, LongConsumer free) {
        this.loan = new Loan(address, free);
        this.cleanable = CLEANER.register(this, loan);
    }

    /** The address, to be given back with {@link #release} in a finally block. */
    final long acquire() throws SealpointException {
        return loan.acquire();
    }

    final void release() {
        loan.release();
    }

    final boolean isClosed() {
        return loan.get() < 0;
    }

    @Override
    public void close() {
        cleanable.clean();
    }

    /** The count of borrowers, its sign bit set once closed. */
    private static final class Loan extends AtomicInteger implements Runnable {
        private static final long serialVersionUID = 1L;
        private static final int CLOSED = Integer.MIN_VALUE;

        private final long address;
        private final transient LongConsumer free;

        Loan(long address, LongConsumer free) {
            this.address = address;
            this.free = free;
        }

        long acquire() throws SealpointException {
            for (;;) {
                int count = get();
                if (count < 0) {
                    throw SealpointException.of(ErrorCode.STATE, "already closed");
                }
                if (compareAndSet(count, count + 1)) {
                    return address;
                }
            }
        }

        void release() {
            if (decrementAndGet() == CLOSED) {
                free.accept(address);
            }
        }

        /** Closes; the cleaner runs this at most once. */
        @Override
        public void run() {
            if (getAndAdd(CLOSED) == 0) {
                free.accept(address);
            }
        }
    }
}
