package io.sealpoint.flink;

import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.runtime.state.CheckpointStorageFactory;
import org.apache.flink.runtime.state.storage.FileSystemCheckpointStorage;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The class to name in {@code execution.checkpointing.storage} (Flink 1: {@code state.checkpoint-storage}). It is Flink's checkpoint storage
 * on a file system, all of whose directories are sealed: {@code s3://bucket/x} becomes {@code sealed+s3://bucket/x}.
 *
 * <p>Flink calls it once on the JobManager and once a subtask on TaskManagers, so it does nothing but read the configuration.
 */
public final class EncryptedCheckpointStorageFactory implements CheckpointStorageFactory<EncryptedCheckpointStorage> {
    private static final Logger LOG = LoggerFactory.getLogger(EncryptedCheckpointStorageFactory.class);

    @Override
    public EncryptedCheckpointStorage createFromConfig(ReadableConfig config, ClassLoader classLoader) {
        DirectoryAudit audit = DirectoryAudit.ofJob(config);
        boolean sealing = audit.enabled();
        if (sealing) {
            audit.run();
        } else if (audit.requireSealed()) {
            throw new IllegalConfigurationException(
                    DirectoryAudit.ENABLED + " is false, but " + DirectoryAudit.REQUIRE_SEALED + " is true: remove one of the two");
        } else {
            LOG.warn("Sealpoint: {} is false: NOTHING NEW IS SEALED, checkpoints and savepoints are written in clear", DirectoryAudit.ENABLED);
        }
        FileSystemCheckpointStorage plain = FileSystemCheckpointStorage.createFromConfig(config, classLoader);
        return new EncryptedCheckpointStorage(
                sealing,
                !audit.requireSealed() || audit.restorePlaintext(),
                audit.manifests(),
                plain.getCheckpointPath(),
                plain.getSavepointPath(),
                config.get(CheckpointingOptions.CREATE_CHECKPOINT_SUB_DIR),
                plain.getMinFileSizeThreshold(),
                plain.getWriteBufferSize());
    }
}
