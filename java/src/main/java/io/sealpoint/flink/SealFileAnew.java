package io.sealpoint.flink;

import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.core.fs.Path;

import java.io.EOFException;
import java.io.IOException;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;

/**
 * Seals one file after another anew, and compares each with its source. What an attempt before this one left is written over. Gives the
 * file's new place.
 */
final class SealFileAnew extends RichMapFunction<Tuple3<String, Long, Boolean>, String> {
    private static final long serialVersionUID = 1L;
    private static final int BLOCK = 1 << 20;

    private final Relocation relocation;
    private transient FreshKeys keys;

    SealFileAnew(Relocation relocation) {
        this.relocation = relocation;
    }

    @Override
    public String map(Tuple3<String, Long, Boolean> file) throws IOException {
        if (file.f0.isEmpty()) {
            return "";
        }
        Path target = new Path(relocation.moved(file.f0));
        if (keys == null) {
            keys = new FreshKeys(target);
        }
        byte[] expected;
        try (FSDataOutputStream out = keys.fileSystem().create(target, WriteMode.OVERWRITE)) {
            expected = read(new Path(file.f0), file.f1, file.f2, out);
        }
        // A part becomes a file that ends where the part does.
        compare(target, expected, read(target, file.f1, false, null));
        return target.toString();
    }

    @Override
    public void close() throws IOException {
        if (keys != null) {
            keys.close();
        }
    }

    /** Reads a file, which verifies it. @return a digest of what was read, which goes to {@code out} if there is one */
    static byte[] read(Path file, long length, boolean isPart, FSDataOutputStream out) throws IOException {
        MessageDigest digest = sha256();
        byte[] block = new byte[BLOCK];
        long left = isPart ? length : Long.MAX_VALUE;
        long done = 0;
        try (FSDataInputStream in = file.getFileSystem().open(file)) {
            while (left > 0) {
                int read = in.read(block, 0, (int) Math.min(block.length, left));
                if (read < 0) {
                    break;
                }
                digest.update(block, 0, read);
                if (out != null) {
                    out.write(block, 0, read);
                }
                done += read;
                left -= read;
            }
        }
        if (length >= 0 && done != length) {
            throw new EOFException(file + " holds " + done + " bytes, and the checkpoint's metadata say " + length);
        }
        return digest.digest();
    }

    static void compare(Path target, byte[] expected, byte[] actual) throws IOException {
        if (!MessageDigest.isEqual(expected, actual)) {
            throw new IOException(target + " does not read back as what was written");
        }
    }

    static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException error) {
            throw new IllegalStateException(error);
        }
    }
}
