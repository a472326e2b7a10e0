package io.sealpoint.flink;

import org.apache.flink.api.common.JobID;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.filemerging.FileMergingSnapshotManager;
import org.apache.flink.runtime.execution.Environment;
import org.apache.flink.runtime.state.CheckpointStorageLocation;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageAccess;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.FsMergingCheckpointStorageAccess;

import java.io.IOException;

/**
 * Flink's access to a checkpoint directory, over a sealed one. The JobManager gets locations that refuse to complete a checkpoint with
 * anything unsealed in it; TaskManagers get exactly Flink's own class, since Flink compares classes there, and begin an epoch per checkpoint.
 */
final class EncryptedCheckpointStorageAccess extends FsCheckpointStorageAccess {
    private final boolean sealing;
    private final boolean restoresPlaintext;
    private final ManifestPolicy manifests;
    private final JobID job;

    EncryptedCheckpointStorageAccess(
            boolean sealing,
            boolean restoresPlaintext,
            ManifestPolicy manifests,
            Path checkpoints,
            Path savepoints,
            boolean subdirectoryPerJob,
            JobID job,
            int inlineBelow,
            int writeBuffer)
            throws IOException {
        super(checkpoints, savepoints, subdirectoryPerJob, job, inlineBelow, writeBuffer);
        this.sealing = sealing;
        this.restoresPlaintext = restoresPlaintext;
        this.manifests = manifests;
        this.job = job;
    }

    /** On the JobManager, when a job that checkpoints by itself starts. */
    @Override
    public void initializeBaseLocationsForCheckpoint() throws IOException {
        super.initializeBaseLocationsForCheckpoint();
        CheckpointNews.isCoordinator(checkpointsDirectory);
    }

    /** On the JobManager. */
    @Override
    public CheckpointStorageLocation initializeLocationForCheckpoint(long checkpointId) throws IOException {
        CheckpointNews.isCoordinator(checkpointsDirectory);
        CheckpointNews.begins(checkpointsDirectory, job, checkpointId);
        Path directory = createCheckpointDirectory(checkpointsDirectory, checkpointId);
        fileSystem.mkdirs(directory);
        return guarded(fileSystem, directory, sharedStateDirectory, taskOwnedStateDirectory, CheckpointStorageLocationReference.getDefault());
    }

    /** On the JobManager. The path travels to the TaskManagers inside the reference, so they write to the sealed one too. */
    @Override
    public CheckpointStorageLocation initializeLocationForSavepoint(long checkpointId, String externalLocation) throws IOException {
        CheckpointNews.isCoordinator(checkpointsDirectory);
        CheckpointNews.begins(checkpointsDirectory, job, checkpointId);
        String location = sealing && externalLocation != null ? SealedPaths.seal(new Path(externalLocation)).toString() : externalLocation;
        return super.initializeLocationForSavepoint(checkpointId, location);
    }

    @Override
    protected CheckpointStorageLocation createSavepointLocation(FileSystem savepointFileSystem, Path directory) {
        return guarded(savepointFileSystem, directory, directory, directory, encodePathAsReference(directory));
    }

    /** On TaskManagers, once a subtask and checkpoint. */
    @Override
    public CheckpointStreamFactory resolveCheckpointStorageLocation(long checkpointId, CheckpointStorageLocationReference reference)
            throws IOException {
        CheckpointNews.begins(checkpointsDirectory, job, checkpointId);
        return super.resolveCheckpointStorageLocation(checkpointId, reference);
    }

    @Override
    public FsMergingCheckpointStorageAccess toFileMergingStorage(FileMergingSnapshotManager manager, Environment environment) throws IOException {
        return new EncryptedMergingCheckpointStorageAccess(
                checkpointsDirectory, getDefaultSavepointDirectory(), environment.getJobID(), fileSizeThreshold, writeBufferSize, manager, environment);
    }

    /** On the JobManager, when a job is restored from here. */
    @Override
    public CompletedCheckpointStorageLocation resolveCheckpoint(String pointer) throws IOException {
        CompletedCheckpointStorageLocation found =
                restoresPlaintext ? CheckpointPointers.resolve(pointer) : CheckpointPointers.resolveSealed(pointer);
        manifests.restoring(found);
        return found;
    }

    private CheckpointStorageLocation guarded(
            FileSystem on, Path directory, Path shared, Path taskOwned, CheckpointStorageLocationReference reference) {
        return !sealing
                ? new FsCheckpointStorageLocation(on, directory, shared, taskOwned, reference, fileSizeThreshold, writeBufferSize)
                : new GuardedCheckpointLocation(manifests, on, directory, shared, taskOwned, reference, fileSizeThreshold, writeBufferSize);
    }
}
