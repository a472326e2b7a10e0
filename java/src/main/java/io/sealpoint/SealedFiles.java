package io.sealpoint;

import java.io.IOException;

/** Questions about whole files. */
public final class SealedFiles {
    private static final int MAGIC_LENGTH = 8;
    private static final int FIRST_READ = 8 * 1024;

    private SealedFiles() {}

    /** Whether the file that {@code source} stands at the start of begins like a sealed file; nothing else is checked. */
    public static boolean beginsLikeOne(ByteSource source) throws IOException {
        byte[] bytes = new byte[MAGIC_LENGTH];
        int length = readFully(source, bytes, 0, bytes.length);
        return HeadReader.isSealed(bytes, length);
    }

    /**
     * The length of a file's plaintext, from its verified head and end, without reading what lies between.
     *
     * @param source the sealed file, at its start; closed in any case
     * @param fileLength the length of the sealed file
     */
    public static long plaintextLength(SealpointEngine engine, ByteSource source, long fileLength, String path, String subject) throws IOException {
        try (ByteSource file = source) {
            byte[] bytes = new byte[FIRST_READ];
            int length = readFully(file, bytes, 0, (int) Math.min(bytes.length, fileLength));
            try (Opener opener = HeadReader.open(engine, file, bytes, length, path, subject).opener) {
                int endLength = opener.layout().endLength();
                byte[] end = new byte[endLength];
                long from = Math.max(fileLength - endLength, opener.headLength());
                file.seek(from);
                int got = readFully(file, end, 0, (int) Math.max(0, Math.min(endLength, fileLength - from)));
                return opener.verifyEnd(end, 0, got, fileLength);
            }
        } catch (SealpointException error) {
            throw HeadReader.named(error, path);
        }
    }

    /**
     * About how much plaintext a file holds that has no end yet, told from its size: what its whole frames hold, and at most a few bytes
     * more a {@code sync()}. Only its head is verified, so nobody may take this for where the plaintext ends; it is good for statistics.
     */
    public static long plaintextLengthSoFar(SealpointEngine engine, ByteSource source, long fileLength, String path, String subject)
            throws IOException {
        try (ByteSource file = source) {
            byte[] bytes = new byte[FIRST_READ];
            int length = readFully(file, bytes, 0, (int) Math.min(bytes.length, fileLength));
            try (Opener opener = HeadReader.open(engine, file, bytes, length, path, subject).opener) {
                return opener.layout().plaintextWithin(fileLength - opener.headLength());
            }
        } catch (SealpointException error) {
            throw HeadReader.named(error, path);
        }
    }

    private static int readFully(ByteSource source, byte[] bytes, int off, int len) throws IOException {
        int done = 0;
        while (done < len) {
            int read = source.read(bytes, off + done, len - done);
            if (read < 0) {
                break;
            }
            done += read;
        }
        return done;
    }
}
