package io.sealpoint.bench;

import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Arrays;

/** A sealed file in memory. */
public final class SealedFile {

    private final byte[] bytes;

    private SealedFile(byte[] bytes) {
        this.bytes = bytes;
    }

    /** Seals {@code length} bytes with {@code peer}, written in blocks. */
    static SealedFile of(Peer peer, int length) throws Exception {
        ByteArrayOutputStream inner = new ByteArrayOutputStream(length + length / 64 + 4096);
        byte[] block = block();
        try (OutputStream stream = peer.sealing(inner)) {
            for (int written = 0; written < length; written += block.length) {
                stream.write(block, 0, Math.min(block.length, length - written));
            }
        }
        return new SealedFile(inner.toByteArray());
    }

    /** A block as Flink writes it. */
    static byte[] block() {
        byte[] block = new byte[16 * 1024];
        Arrays.fill(block, (byte) 0x5c);
        return block;
    }

    int length() {
        return bytes.length;
    }

    byte[] bytes() {
        return bytes;
    }

    /** The file from its start. Like a {@code ByteArrayInputStream}, without its lock. */
    InputStream stream() {
        return new InputStream() {
            private int position;

            @Override
            public int read() {
                return position < bytes.length ? bytes[position++] & 0xff : -1;
            }

            @Override
            public int read(byte[] out, int offset, int length) {
                int count = Math.min(length, bytes.length - position);
                if (count <= 0) {
                    return length == 0 ? 0 : -1;
                }
                System.arraycopy(bytes, position, out, offset, count);
                position += count;
                return count;
            }

            @Override
            public int available() {
                return bytes.length - position;
            }
        };
    }
}
