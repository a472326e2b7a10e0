package io.sealpoint.bench;

import java.io.OutputStream;

/** Takes what is written at no cost but a look at it, so that the time is the sealing stream's own. */
public final class CountingSink extends OutputStream {

    private long count;
    private int seen;

    long count() {
        return count;
    }

    @Override
    public void write(int b) {
        count++;
        seen ^= b;
    }

    @Override
    public void write(byte[] bytes, int offset, int length) {
        count += length;
        if (length > 0) {
            seen ^= bytes[offset + length - 1];
        }
    }

    @Override
    public int hashCode() {
        return seen;
    }
}
