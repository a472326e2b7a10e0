package io.sealpoint;

import java.io.ByteArrayOutputStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * A sealed file whose key version is gone, and the sidecar that makes up for it, out of one that was sealed just now: the slots
 * of a head are not bound into its file (docs/FORMAT.md, "Slots section"), so the sidecar gets the good ones and the file others.
 */
public final class Rewrapped {
    private static final int PRELUDE = 20;
    private static final byte[] VERSION_1 = "sealpoint\0\u00011".getBytes(StandardCharsets.ISO_8859_1);

    private Rewrapped() {}

    /** The file, its data key wrapped by version 7 of the key, which there is not. */
    public static byte[] file(byte[] sealed) {
        byte[] changed = sealed.clone();
        for (int at = 0; at < headLength(sealed); at++) {
            if (Arrays.equals(sealed, at, at + VERSION_1.length, VERSION_1, 0, VERSION_1.length)) {
                changed[at + VERSION_1.length - 1] = '7';
                return changed;
            }
        }
        throw new IllegalArgumentException("not sealed under version 1 of the key 'sealpoint'");
    }

    /** The sidecar with the slots that the file was sealed with. */
    public static byte[] sidecar(byte[] sealed) {
        ByteBuffer head = ByteBuffer.wrap(sealed);
        int bound = head.getInt(12);
        int slots = head.getInt(16);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes("SEALKEY\n\u0001\0\0\0\0\0\0\u0001".getBytes(StandardCharsets.ISO_8859_1));
        // The first field of the bound section: tag, length, and the data key's identity.
        out.write(sealed, PRELUDE + 3, 16);
        out.writeBytes(ByteBuffer.allocate(4).putInt(slots).array());
        out.write(sealed, PRELUDE + bound, slots);
        return out.toByteArray();
    }

    /** The identity of the data key that a file is sealed under. */
    public static String dataKey(byte[] sealed) {
        // The first field of the bound section: tag, length, identity.
        return new BigInteger(1, Arrays.copyOfRange(sealed, PRELUDE + 3, PRELUDE + 19)).toString(16);
    }

    private static int headLength(byte[] sealed) {
        ByteBuffer head = ByteBuffer.wrap(sealed);
        return PRELUDE + head.getInt(12) + head.getInt(16);
    }
}
