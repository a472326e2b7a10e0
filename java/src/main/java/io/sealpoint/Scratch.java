package io.sealpoint;

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
    private static final Pool[] ARRAYS = pools();

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

    /** An array of at least this size that begins with what lies between two offsets of another, which is given back. */
    static byte[] grow(byte[] array, int start, int end, int size) {
        byte[] larger = array(size);
        System.arraycopy(array, start, larger, 0, end - start);
        give(array);
        return larger;
    }

    private static int index(int size) {
        int index = 0;
        while (index < SIZES.length && SIZES[index] < size) {
            index++;
        }
        return index;
    }

    private static Pool[] pools() {
        Pool[] pools = new Pool[SIZES.length];
        for (int i = 0; i < pools.length; i++) {
            pools[i] = new Pool(SLOTS[i]);
        }
        return pools;
    }

    /** A bag with a fixed number of places. Threads start looking at different places, so that they seldom meet. */
    private static final class Pool {
        private final AtomicReferenceArray<byte[]> places;

        Pool(int size) {
            places = new AtomicReferenceArray<>(size);
        }

        byte[] take() {
            int first = first();
            for (int i = 0; i < places.length(); i++) {
                int place = (first + i) % places.length();
                byte[] item = places.get(place);
                if (item != null && places.compareAndSet(place, item, null)) {
                    return item;
                }
            }
            return null;
        }

        void give(byte[] item) {
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
