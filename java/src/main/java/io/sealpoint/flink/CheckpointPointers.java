package io.sealpoint.flink;

import io.sealpoint.ErrorCode;
import io.sealpoint.SealedFiles;
import io.sealpoint.SealpointException;

import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.io.UncheckedIOException;

/** Finds the checkpoint or savepoint that a user points to. */
final class CheckpointPointers {
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointPointers.class);

    private CheckpointPointers() {}

    /** As {@link #resolve}, and refuses what is not sealed. */
    static CompletedCheckpointStorageLocation resolveSealed(String pointer) throws IOException {
        CompletedCheckpointStorageLocation found = find(pointer);
        if (!isSealed(found)) {
            throw SealpointException.of(
                    ErrorCode.NOT_SEALED.number(),
                    found.getExternalPointer() + " is not sealed, and " + DirectoryAudit.REQUIRE_SEALED
                            + " is true. If it was sealed once, somebody replaced it. If it is state from before Sealpoint, set "
                            + DirectoryAudit.RESTORE_PLAINTEXT + ": true in the job's configuration for this one restore");
        }
        return found;
    }

    /**
     * Resolves a pointer to a directory or its {@code _metadata}. A plain path is taken for its sealed form if what lies there is sealed, so that
     * a savepoint can be named either way, and a job that starts to seal can restore its last plaintext savepoint. That one is announced, for
     * it may as well be a forgery in a sealed one's place.
     */
    static CompletedCheckpointStorageLocation resolve(String pointer) throws IOException {
        CompletedCheckpointStorageLocation found = find(pointer);
        if (!isSealed(found)) {
            LOG.warn(
                    "Sealpoint: {} IS NOT SEALED, and nothing proves who wrote it. If it was sealed once, somebody replaced it: name it by its {} path,"
                            + " and it is refused",
                    found.getExternalPointer(),
                    SealedPaths.PREFIX);
        }
        return found;
    }

    private static CompletedCheckpointStorageLocation find(String pointer) throws IOException {
        try {
            return AbstractFsCheckpointStorageAccess.resolveCheckpointPointer(isSealedInside(pointer) ? sealed(pointer) : pointer);
        } catch (UncheckedIOException error) {
            // The length of a sealed file, which Flink's interface lets no one decline to give.
            throw error.getCause();
        }
    }

    private static boolean isSealed(CompletedCheckpointStorageLocation location) {
        return SealedPaths.isSealed(new Path(location.getExternalPointer()));
    }

    private static String sealed(String pointer) {
        return SealedPaths.seal(new Path(pointer)).toString();
    }

    private static boolean isSealedInside(String pointer) {
        if (pointer == null || pointer.isEmpty()) {
            return false; // Flink says what is wrong with it
        }
        try {
            Path path = new Path(pointer);
            if (SealedPaths.isSealed(path)) {
                return false;
            }
            FileSystem fileSystem = path.getFileSystem();
            Path file = fileSystem.getFileStatus(path).isDir()
                    ? new Path(path, AbstractFsCheckpointStorageAccess.METADATA_FILE_NAME)
                    : path;
            try (FSDataInputStream in = fileSystem.open(file)) {
                return SealedFiles.beginsLikeOne(new FlinkSource(in, fileSystem, file));
            }
        } catch (IOException | IllegalArgumentException unreadable) {
            return false; // resolving the pointer as it is gives Flink's own error
        }
    }
}
