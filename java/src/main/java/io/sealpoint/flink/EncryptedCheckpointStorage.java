package io.sealpoint.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.CheckpointStorageAccess;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;

import java.io.IOException;

/** Checkpoint storage in sealed directories. */
public final class EncryptedCheckpointStorage implements CheckpointStorage {
    private static final long serialVersionUID = 1L;

    private final boolean sealing;
    private final boolean restoresPlaintext;
    private final ManifestPolicy manifests;
    private final Path checkpoints;
    private final Path savepoints;
    private final boolean subdirectoryPerJob;
    private final int inlineBelow;
    private final int writeBuffer;

    EncryptedCheckpointStorage(
            boolean sealing,
            boolean restoresPlaintext,
            ManifestPolicy manifests,
            Path checkpoints,
            Path savepoints,
            boolean subdirectoryPerJob,
            int inlineBelow,
            int writeBuffer) {
        this.sealing = sealing;
        this.restoresPlaintext = restoresPlaintext;
        this.manifests = manifests;
        this.checkpoints = sealing ? SealedPaths.seal(checkpoints) : checkpoints;
        this.savepoints = sealing && savepoints != null ? SealedPaths.seal(savepoints) : savepoints;
        this.subdirectoryPerJob = subdirectoryPerJob;
        this.inlineBelow = inlineBelow;
        this.writeBuffer = writeBuffer;
    }

    /** Flink disposes of savepoints by this, so what lies there may be in clear. It restores by {@link EncryptedCheckpointStorageAccess}. */
    @Override
    public CompletedCheckpointStorageLocation resolveCheckpoint(String pointer) throws IOException {
        return CheckpointPointers.resolve(pointer);
    }

    @Override
    public CheckpointStorageAccess createCheckpointStorage(JobID job) throws IOException {
        return new EncryptedCheckpointStorageAccess(
                sealing, restoresPlaintext, manifests, checkpoints, savepoints, subdirectoryPerJob, job, inlineBelow, writeBuffer);
    }

    @Override
    public String toString() {
        return "EncryptedCheckpointStorage(checkpoints " + checkpoints + ", savepoints " + savepoints + ")";
    }
}
