package io.sealpoint.flink;

import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.CheckpointMetadataOutputStream;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;

import java.io.IOException;

/** A checkpoint's location on the JobManager, whose metadata is checked before the checkpoint completes. */
final class GuardedCheckpointLocation extends FsCheckpointStorageLocation {
    private final FileSystem fileSystem;

    GuardedCheckpointLocation(
            FileSystem fileSystem,
            Path directory,
            Path shared,
            Path taskOwned,
            CheckpointStorageLocationReference reference,
            int inlineBelow,
            int writeBuffer) {
        super(fileSystem, directory, shared, taskOwned, reference, inlineBelow, writeBuffer);
        this.fileSystem = fileSystem;
    }

    @Override
    public CheckpointMetadataOutputStream createMetadataOutputStream() throws IOException {
        return new GuardedMetadataStream(super.createMetadataOutputStream(), fileSystem, getMetadataFilePath());
    }
}
