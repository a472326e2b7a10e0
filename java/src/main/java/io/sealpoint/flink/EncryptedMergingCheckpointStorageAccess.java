package io.sealpoint.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.filemerging.FileMergingSnapshotManager;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.filesystem.FsMergingCheckpointStorageAccess;

import java.io.IOException;

/** A TaskManager's access when Flink merges small files. It finds the file system by the directory's scheme, which is a sealed one. */
final class EncryptedMergingCheckpointStorageAccess extends FsMergingCheckpointStorageAccess {
    private final JobID job;

    EncryptedMergingCheckpointStorageAccess(
            Path checkpoints,
            Path savepoints,
            JobID job,
            int inlineBelow,
            int writeBuffer,
            FileMergingSnapshotManager manager,
            Environment environment)
            throws IOException {
        super(checkpoints, savepoints, job, inlineBelow, writeBuffer, manager, environment);
        this.job = job;
    }

    @Override
    public CheckpointStreamFactory resolveCheckpointStorageLocation(long checkpointId, CheckpointStorageLocationReference reference)
            throws IOException {
        CheckpointNews.begins(checkpointsDirectory, job, checkpointId);
        return super.resolveCheckpointStorageLocation(checkpointId, reference);
    }
}
