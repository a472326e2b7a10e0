package io.sealpoint.flink;

import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.CheckpointMetadataOutputStream;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;

import java.io.IOException;

/** A checkpoint's location on the JobManager, whose metadata is checked, and given a manifest, before the checkpoint completes. */
final class GuardedCheckpointLocation extends FsCheckpointStorageLocation {
    private final ManifestPolicy manifests;
    private final FileSystem fileSystem;

    GuardedCheckpointLocation(
            ManifestPolicy manifests,
            FileSystem fileSystem,
            Path directory,
            Path shared,
            Path taskOwned,
            CheckpointStorageLocationReference reference,
            int inlineBelow,
            int writeBuffer) {
        super(fileSystem, directory, shared, taskOwned, reference, inlineBelow, writeBuffer);
        this.manifests = manifests;
        this.fileSystem = fileSystem;
    }

    @Override
    public CheckpointMetadataOutputStream createMetadataOutputStream() throws IOException {
        return new GuardedMetadataStream(super.createMetadataOutputStream(), manifests, fileSystem, getMetadataFilePath());
    }
}
