package io.sealpoint.bench;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.GeneralSecurityException;
import java.security.Provider;
import java.util.Arrays;
import javax.crypto.Cipher;
import javax.crypto.SecretKey;
import javax.crypto.spec.GCMParameterSpec;
import javax.crypto.spec.SecretKeySpec;

/**
 * AES-256-GCM of a JCE provider with the framing of a sealed file: chunks of 16 KiB, each a 4-byte prefix, the
 * ciphertext and a 16-byte tag; nonce = 12-byte base XOR chunk counter; 12 bytes of associated data. What a pure-Java
 * design would be: one {@link Cipher} a stream, one scratch array a stream, whole chunks straight from and into the
 * caller's array.
 */
final class GcmPeer implements Peer {

    private static final int FRONT = 4;
    private static final int TAG = 16;
    private static final int LAST = 1 << 31;

    private final Provider provider;
    private final SecretKey key;
    private final byte[] base = new byte[12];

    /** With the default provider of the JDK if {@code provider} is null. */
    GcmPeer(Provider provider) {
        this.provider = provider;
        byte[] bytes = new byte[32];
        Arrays.fill(bytes, (byte) 0x2a);
        this.key = new SecretKeySpec(bytes, "AES");
        Arrays.fill(base, (byte) 0x17);
    }

    @Override
    public OutputStream sealing(OutputStream inner) throws GeneralSecurityException {
        return new Sealing(new Frames(Cipher.ENCRYPT_MODE), inner);
    }

    @Override
    public InputStream opening(SealedFile sealed) throws GeneralSecurityException {
        return new Opening(new Frames(Cipher.DECRYPT_MODE), sealed.stream());
    }

    /** The cipher, set up anew for each frame. */
    private final class Frames {
        private final Cipher cipher;
        private final int mode;
        private final byte[] nonce = base.clone();
        private final byte[] associated = new byte[12];
        private long index;
        private long offset;

        Frames(int mode) throws GeneralSecurityException {
            this.mode = mode;
            String name = "AES/GCM/NoPadding";
            this.cipher = provider == null ? Cipher.getInstance(name) : Cipher.getInstance(name, provider);
        }

        int frame(int prefix, byte[] in, int inOffset, int inLength, byte[] out, int outOffset) throws IOException {
            for (int i = 0; i < 8; i++) {
                nonce[4 + i] = (byte) (base[4 + i] ^ (index >>> (56 - 8 * i)));
                associated[4 + i] = (byte) (offset >>> (56 - 8 * i));
            }
            putInt(associated, 0, prefix);
            try {
                cipher.init(mode, key, new GCMParameterSpec(8 * TAG, nonce));
                cipher.updateAAD(associated);
                int length = cipher.doFinal(in, inOffset, inLength, out, outOffset);
                index++;
                offset += prefix & ~LAST;
                return length;
            } catch (GeneralSecurityException e) {
                throw new IOException("frame " + index + " failed", e);
            }
        }
    }

    private static final class Sealing extends OutputStream {
        private final Frames frames;
        private final OutputStream inner;
        private final byte[] sealed = new byte[FRONT + CHUNK + TAG];
        private final byte[] pending = new byte[CHUNK];
        private int held;

        Sealing(Frames frames, OutputStream inner) {
            this.frames = frames;
            this.inner = inner;
        }

        @Override
        public void write(int b) throws IOException {
            write(new byte[] {(byte) b}, 0, 1);
        }

        @Override
        public void write(byte[] bytes, int offset, int length) throws IOException {
            while (length > 0) {
                if (held == 0 && length >= CHUNK) {
                    seal(CHUNK, bytes, offset, CHUNK);
                    offset += CHUNK;
                    length -= CHUNK;
                } else {
                    int part = Math.min(length, CHUNK - held);
                    System.arraycopy(bytes, offset, pending, held, part);
                    held += part;
                    offset += part;
                    length -= part;
                    if (held == CHUNK) {
                        held = 0;
                        seal(CHUNK, pending, 0, CHUNK);
                    }
                }
            }
        }

        @Override
        public void close() throws IOException {
            seal(held | LAST, pending, 0, held);
            inner.close();
        }

        private void seal(int prefix, byte[] bytes, int offset, int length) throws IOException {
            putInt(sealed, 0, prefix);
            int written = frames.frame(prefix, bytes, offset, length, sealed, FRONT);
            inner.write(sealed, 0, FRONT + written);
        }
    }

    private static final class Opening extends InputStream {
        private final Frames frames;
        private final InputStream inner;
        private final byte[] sealed = new byte[FRONT + CHUNK + TAG];
        private final byte[] plain = new byte[CHUNK];
        private int from;
        private int to;
        private boolean ended;

        Opening(Frames frames, InputStream inner) {
            this.frames = frames;
            this.inner = inner;
        }

        @Override
        public int read() throws IOException {
            if (from == to && !fill()) {
                return -1;
            }
            return plain[from++] & 0xff;
        }

        @Override
        public int read(byte[] out, int offset, int length) throws IOException {
            if (from == to) {
                if (length >= CHUNK && !ended) {
                    int direct = open(out, offset);
                    return direct == 0 ? -1 : direct;
                }
                if (!fill()) {
                    return -1;
                }
            }
            int part = Math.min(length, to - from);
            System.arraycopy(plain, from, out, offset, part);
            from += part;
            return part;
        }

        @Override
        public void close() throws IOException {
            inner.close();
        }

        private boolean fill() throws IOException {
            if (ended) {
                return false;
            }
            from = 0;
            to = open(plain, 0);
            return to > 0;
        }

        /** Frames are of one size but for the last, so that one read of the inner stream brings a whole one. */
        private int open(byte[] out, int offset) throws IOException {
            int got = inner.readNBytes(sealed, 0, sealed.length);
            if (got < FRONT + TAG) {
                throw new EOFException("the file was cut");
            }
            int prefix = getInt(sealed, 0);
            int length = prefix & ~LAST;
            if (length > CHUNK || FRONT + length + TAG > got) {
                throw new EOFException("the file was cut");
            }
            ended = (prefix & LAST) != 0;
            return frames.frame(prefix, sealed, FRONT, length + TAG, out, offset);
        }
    }

    private static void putInt(byte[] bytes, int offset, int value) {
        for (int i = 0; i < 4; i++) {
            bytes[offset + i] = (byte) (value >>> (24 - 8 * i));
        }
    }

    private static int getInt(byte[] bytes, int offset) {
        int value = 0;
        for (int i = 0; i < 4; i++) {
            value = value << 8 | bytes[offset + i] & 0xff;
        }
        return value;
    }
}
