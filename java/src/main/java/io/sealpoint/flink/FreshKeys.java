package io.sealpoint.flink;

import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.io.Closeable;
import java.io.IOException;
import java.util.function.Supplier;

/**
 * The sealed file system of a place under data keys that this process has not sealed anything with: those that it has at hand may be the
 * very ones that are to be given up, or wrapped by the version that is.
 */
final class FreshKeys implements Closeable {
    private final FileSystem fileSystem;

    /** The file system may be another class loader's, that of the jar in {@code lib/}: see SealedFileSystem. */
    FreshKeys(Path place) throws IOException {
        FileSystem shared = FileSystem.getUnguardedFileSystem(place.toUri());
        if (!(shared instanceof Supplier && shared instanceof Runnable)) {
            throw new IOException(place + ": there is no sealed file system here");
        }
        fileSystem = (FileSystem) ((Supplier<?>) shared).get();
    }

    FileSystem fileSystem() {
        return fileSystem;
    }

    @Override
    public void close() throws IOException {
        try {
            ((AutoCloseable) fileSystem).close();
        } catch (IOException | RuntimeException error) {
            throw error;
        } catch (Exception error) {
            throw new IOException(error);
        }
    }
}
