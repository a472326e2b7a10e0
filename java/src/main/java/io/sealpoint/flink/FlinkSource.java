package io.sealpoint.flink;

import io.sealpoint.ByteSource;

import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.io.IOException;

/** Sealed bytes from a file of Flink's, and the keys beside it. */
final class FlinkSource implements ByteSource {
    private static final int MAX_SIDECAR = 16 << 20;

    private final FSDataInputStream in;
    private final FileSystem fileSystem;
    private final Path file;
    private boolean lookedBeside;

    FlinkSource(FSDataInputStream in, FileSystem fileSystem, Path file) {
        this.in = in;
        this.fileSystem = fileSystem;
        this.file = file;
    }

    static FlinkSource open(FileSystem fileSystem, Path file) throws IOException {
        return new FlinkSource(fileSystem.open(file), fileSystem, file);
    }

    /** Whether the file's own slots did not give its key. */
    boolean lookedBeside() {
        return lookedBeside;
    }

    @Override
    public int read(byte[] bytes, int off, int len) throws IOException {
        return in.read(bytes, off, len);
    }

    @Override
    public void seek(long position) throws IOException {
        in.seek(position);
    }

    @Override
    public byte[] sidecar(boolean above) throws IOException {
        lookedBeside = true;
        Path directory = above ? file.getParent().getParent() : file.getParent();
        if (directory == null) {
            return null;
        }
        Path keys = new Path(directory, SealedPaths.SIDECAR);
        try (FSDataInputStream bytes = fileSystem.open(keys)) {
            return bytes.readNBytes(MAX_SIDECAR + 1);
        } catch (IOException error) {
            // File systems differ in what they throw for a file that is not there.
            if (!fileSystem.exists(keys)) {
                return null;
            }
            throw error;
        }
    }

    @Override
    public void close() throws IOException {
        in.close();
    }
}
