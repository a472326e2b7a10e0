package io.sealpoint;

import java.nio.ByteBuffer;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Bounded pools of buffers, so that a stream of a few KiB does not pay for allocating and zeroing large ones. What does not fit in a pool
 * is left to the garbage collector. A buffer may only be given back by whoever is certain that nobody else still uses it.
 */
final class Scratch {
    static final byte[] NONE = new byte[0];

    private static final int SMALLEST = 8 * 1024;
    private static final int[] SIZES = {SMALLEST, 24 * 1024, 80 * 1024, 320 * 1024, 1280 * 1024};
    private static final int[] SLOTS = {32, 32, 32, 8, 4};
    private static final Pool<byte[]>[] ARRAYS = pools();
    private static final Pool<ByteBuffer>[] BUFFERS = pools();
    private static final int PAGE = 4096;
    /** The JVM collects garbage and sleeps before it gives up on direct memory: not something to repeat for every chunk. */
    private static final long RETRY_NANOS = 10_000_000_000L;

    private static volatile long exhaustedAt = System.nanoTime() - RETRY_NANOS;

    private Scratch() {}

    static byte[] array(int size) {
        int index = index(size);
        if (index == SIZES.length) {
            return new byte[size];
        }
        byte[] pooled = ARRAYS[index].take();
        return pooled != null ? pooled : new byte[SIZES[index]];
    }

    static void give(byte[] array) {
        int index = index(array.length);
        if (index < SIZES.length && array.length == SIZES[index]) {
            ARRAYS[index].give(array);
        }
    }

    /** A direct buffer, to be held for one native call only; null if the JVM has no direct memory left. */
    static ByteBuffer buffer(int size) {
        int index = index(size);
        ByteBuffer buffer = index == SIZES.length ? null : BUFFERS[index].take();
        if (buffer == null) {
            if (System.nanoTime() - exhaustedAt < RETRY_NANOS) {
                return null;
            }
            try {
                buffer = halfwayIntoAPage(index == SIZES.length ? size : SIZES[index]);
            } catch (OutOfMemoryError noDirectMemory) {
                exhaustedAt = System.nanoTime();
                return null;
            }
        }
        buffer.clear();
        return buffer;
    }

    static void give(ByteBuffer buffer) {
        int index = index(buffer.capacity());
        if (index < SIZES.length && buffer.capacity() == SIZES[index]) {
            BUFFERS[index].give(buffer);
        }
    }

    /**
     * Large arrays tend to begin near the start of a page; a source and a target at the same offset in their pages make the processor mistake
     * loads for dependent on stores, which can halve the speed of a copy.
     */
    private static ByteBuffer halfwayIntoAPage(int size) {
        ByteBuffer whole = ByteBuffer.allocateDirect(size + 2 * PAGE);
        int start = (PAGE + PAGE / 2 - whole.alignmentOffset(0, PAGE)) % PAGE;
        whole.position(start);
        whole.limit(start + size);
        return whole.slice();
    }

    private static int index(int size) {
        int index = 0;
        while (index < SIZES.length && SIZES[index] < size) {
            index++;
        }
        return index;
    }

    @SuppressWarnings({"unchecked", "rawtypes"}) // an array of a generic class
    private static <T> Pool<T>[] pools() {
        Pool<T>[] pools = new Pool[SIZES.length];
        for (int i = 0; i < pools.length; i++) {
            pools[i] = new Pool<>(SLOTS[i]);
        }
        return pools;
    }

    /** A bag with a fixed number of places. Threads start looking at different places, so that they seldom meet. */
    private static final class Pool<T> {
        private final AtomicReferenceArray<T> places;

        Pool(int size) {
            places = new AtomicReferenceArray<>(size);
        }

        T take() {
            int first = first();
            for (int i = 0; i < places.length(); i++) {
                int place = (first + i) % places.length();
                T item = places.get(place);
                if (item != null && places.compareAndSet(place, item, null)) {
                    return item;
                }
            }
            return null;
        }

        void give(T item) {
            int first = first();
            for (int i = 0; i < places.length(); i++) {
                int place = (first + i) % places.length();
                if (places.get(place) == null && places.compareAndSet(place, null, item)) {
                    return;
                }
            }
        }

        private int first() {
            return (int) (Thread.currentThread().getId() % places.length());
        }
    }
}
