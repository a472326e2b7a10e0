package io.sealpoint.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.function.BiConsumer;
import java.util.function.ObjLongConsumer;

/** Tells the sealed file system of a directory what it should know of checkpoints, whichever class loader it comes from. */
final class CheckpointNews {
    /** What is to be done about a manifest, in words that every copy of these classes knows. */
    static final String WRITE = "write";
    static final String COMPARE = "compare";
    static final String REQUIRE = "require";

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

    /** One of these is to be done about the manifest of the checkpoint in this directory. */
    static void manifest(Path directory, String wish) throws IOException {
        FileSystem fileSystem = fileSystem(directory);
        if (!takesNews(fileSystem) || !(fileSystem instanceof BiConsumer)) {
            throw new IOException(
                    directory + ": " + ManifestPolicy.OPTION + " is set, and the Sealpoint in lib/ knows no manifests: put the release that the job"
                            + " brings into lib/ of every process");
        }
        tell(() -> wisher(fileSystem).accept(directory.toString(), wish));
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

    @SuppressWarnings("unchecked") // as above
    private static BiConsumer<String, String> wisher(FileSystem fileSystem) {
        return (BiConsumer<String, String>) fileSystem;
    }

    private static void tell(Runnable news) throws IOException {
        try {
            news.run();
        } catch (UncheckedIOException error) {
            throw error.getCause();
        }
    }
}
