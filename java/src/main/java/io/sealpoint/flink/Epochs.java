package io.sealpoint.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.function.ObjLongConsumer;

/** Tells the sealed file system of a directory that a checkpoint begins, whichever class loader it comes from. */
final class Epochs {
    private Epochs() {}

    @SuppressWarnings("unchecked") // see SealedFileSystem: no other file system consumes these
    static void begin(Path directory, JobID job, long checkpointId) throws IOException {
        // Without the wrapper that closes a task's streams, which would hide ours.
        FileSystem fileSystem = FileSystem.getUnguardedFileSystem(directory.toUri());
        if (fileSystem instanceof ObjLongConsumer) {
            try {
                ((ObjLongConsumer<String>) fileSystem).accept(job.toHexString(), checkpointId);
            } catch (UncheckedIOException error) {
                throw error.getCause();
            }
        }
    }
}
