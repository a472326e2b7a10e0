package io.sealpoint.flink;

import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.Path;

import java.io.IOException;
import java.io.UncheckedIOException;

/** The status of a sealed file. Its length is read, from the verified end of the file, only when asked for. */
final class SealedFileStatus implements FileStatus {
    private static final long UNKNOWN = -1;

    private final SealedFileSystem fileSystem;
    private final FileStatus inner;
    private final Path path;
    private long length = UNKNOWN;

    SealedFileStatus(SealedFileSystem fileSystem, FileStatus inner, Path path) {
        this.fileSystem = fileSystem;
        this.inner = inner;
        this.path = path;
    }

    FileStatus inner() {
        return inner;
    }

    /** The length of the plaintext; an UncheckedIOException if the file is not sealed or has no end. */
    @Override
    public long getLen() {
        if (inner.isDir()) {
            return inner.getLen();
        }
        if (length == UNKNOWN) {
            try {
                length = fileSystem.plaintextLength(inner);
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        }
        return length;
    }

    @Override
    public long getBlockSize() {
        return inner.getBlockSize();
    }

    @Override
    public short getReplication() {
        return inner.getReplication();
    }

    @Override
    public long getModificationTime() {
        return inner.getModificationTime();
    }

    @Override
    public long getAccessTime() {
        return inner.getAccessTime();
    }

    @Override
    public boolean isDir() {
        return inner.isDir();
    }

    @Override
    public Path getPath() {
        return path;
    }
}
