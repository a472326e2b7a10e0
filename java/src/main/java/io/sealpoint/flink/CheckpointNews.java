package io.sealpoint.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.function.ObjLongConsumer;

/** Tells the sealed file system of a directory what it should know of checkpoints, whichever class loader it comes from. */
final class CheckpointNews {
    private CheckpointNews() {}

    /** A checkpoint begins: by default it gets a data key of its own. */
    static void begins(Path directory, JobID job, long checkpointId) throws IOException {
        FileSystem fileSystem = fileSystem(directory);
        if (takesNews(fileSystem)) {
            tell(() -> consumer(fileSystem).accept(job.toHexString(), checkpointId));
        }
    }

    /** This process coordinates checkpoints: it looks after the keys. */
    static void isCoordinator(Path directory) throws IOException {
        FileSystem fileSystem = fileSystem(directory);
        if (takesNews(fileSystem)) {
            tell((Runnable) fileSystem);
        }
    }

    /** Without the wrapper that closes a task's streams, which would hide ours. */
    private static FileSystem fileSystem(Path directory) throws IOException {
        return FileSystem.getUnguardedFileSystem(directory.toUri());
    }

    /** See SealedFileSystem: no other file system is both of these. */
    private static boolean takesNews(FileSystem fileSystem) {
        return fileSystem instanceof ObjLongConsumer && fileSystem instanceof Runnable;
    }

    @SuppressWarnings("unchecked") // as above
    private static ObjLongConsumer<String> consumer(FileSystem fileSystem) {
        return (ObjLongConsumer<String>) fileSystem;
    }

    private static void tell(Runnable news) throws IOException {
        try {
            news.run();
        } catch (UncheckedIOException error) {
            throw error.getCause();
        }
    }
}
