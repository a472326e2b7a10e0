/**
 * Sealpoint under Apache Flink, one jar for Flink 1.20 and 2.x.
 *
 * <p>What Flink persists goes through its file systems, so that is where sealing happens: {@code SealedFileSystem} is the sealed form of another
 * file system, under a scheme of its own ({@code sealed+s3} over {@code s3}). {@link io.sealpoint.flink.EncryptedCheckpointStorageFactory} is the
 * class that users name; it puts checkpoints and savepoints under those schemes.
 *
 * <p>Three things look for state that would go around it: {@code DirectoryAudit} at the start of a process, {@code GuardedMetadataStream} before a
 * checkpoint completes, {@link io.sealpoint.flink.CheckpointWatch} at the checkpoints of jobs that use another storage.
 */
package io.sealpoint.flink;
