package io.sealpoint.flink;

import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.runtime.state.CheckpointStorageFactory;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;

/**
 * The class to name in {@code execution.checkpointing.storage} (Flink 1: {@code state.checkpoint-storage}). It is Flink's checkpoint storage
 * on a file system, all of whose directories are sealed: {@code s3://bucket/x} becomes {@code sealed+s3://bucket/x}.
 *
 * <p>Flink calls it once on the JobManager and once a subtask on TaskManagers, so it does nothing but read the configuration.
 */
public final class EncryptedCheckpointStorageFactory implements CheckpointStorageFactory<EncryptedCheckpointStorage> {
    @Override
    public EncryptedCheckpointStorage createFromConfig(ReadableConfig config, ClassLoader classLoader) {
        DirectoryAudit.ofJob(config).run();
        FileSystemCheckpointStorage plain = FileSystemCheckpointStorage.createFromConfig(config, classLoader);
        return new EncryptedCheckpointStorage(
                SealedPaths.seal(plain.getCheckpointPath()),
                plain.getSavepointPath() == null ? null : SealedPaths.seal(plain.getSavepointPath()),
                config.get(CheckpointingOptions.CREATE_CHECKPOINT_SUB_DIR),
                plain.getMinFileSizeThreshold(),
                plain.getWriteBufferSize());
    }
}
