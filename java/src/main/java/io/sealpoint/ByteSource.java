package io.sealpoint;

import java.io.Closeable;
import java.io.IOException;

/** Where a {@link SealedInputStream} takes sealed bytes from, and the keys that were written beside them. */
public interface ByteSource extends Closeable {
    /** As {@link java.io.InputStream#read(byte[], int, int)}. */
    int read(byte[] bytes, int off, int len) throws IOException;

    void seek(long position) throws IOException;

    /**
     * The file {@code .sealpoint-keys} of the sealed file's directory, asked for where the key service no longer gives the key for what the file
     * itself holds.
     *
     * @param above whether it is that of the directory's parent which is meant
     * @return its bytes, no more of them than its limit of 16 MiB and one; null if there is no such file
     */
    default byte[] sidecar(boolean above) throws IOException {
        return null;
    }
}
