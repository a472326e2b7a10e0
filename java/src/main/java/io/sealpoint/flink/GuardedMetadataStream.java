package io.sealpoint.flink;

import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.CheckpointMetadataOutputStream;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.IOException;
import java.util.List;

/**
 * Writes a checkpoint's metadata, reads it back, and refuses the checkpoint if it refers to anything that is not sealed: the mark of a
 * cluster on which only some processes are configured. Reading back also proves that what was written can be opened. Then the checkpoint
 * gets its manifest, where that is configured; one that gets none does not complete.
 */
final class GuardedMetadataStream extends CheckpointMetadataOutputStream {
    private static final int SHOWN = 3;

    private final CheckpointMetadataOutputStream out;
    private final ManifestPolicy manifests;
    private final FileSystem fileSystem;
    private final Path file;

    GuardedMetadataStream(CheckpointMetadataOutputStream out, ManifestPolicy manifests, FileSystem fileSystem, Path file) {
        this.out = out;
        this.manifests = manifests;
        this.fileSystem = fileSystem;
        this.file = file;
    }

    @Override
    public CompletedCheckpointStorageLocation closeAndFinalizeCheckpoint() throws IOException {
        CompletedCheckpointStorageLocation completed = out.closeAndFinalizeCheckpoint();
        try {
            check();
            manifests.completing(file.getParent());
        } catch (IOException | RuntimeException refusal) {
            deleteAfter(refusal);
            throw refusal;
        }
        return completed;
    }

    @Override
    public void write(int b) throws IOException {
        out.write(b);
    }

    @Override
    public void write(byte[] bytes, int off, int len) throws IOException {
        out.write(bytes, off, len);
    }

    @Override
    public long getPos() throws IOException {
        return out.getPos();
    }

    @Override
    public void flush() throws IOException {
        out.flush();
    }

    @Override
    public void sync() throws IOException {
        out.sync();
    }

    @Override
    public void close() throws IOException {
        out.close();
    }

    private void check() throws IOException {
        CheckpointMetadata metadata;
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(fileSystem.open(file)))) {
            metadata = Checkpoints.loadCheckpointMetadata(in, getClass().getClassLoader(), file.getParent().toString());
        }
        List<String> unsealed = UnsealedState.in(metadata);
        if (!unsealed.isEmpty()) {
            int more = unsealed.size() - SHOWN;
            throw new IOException(
                    "Sealpoint refuses checkpoint " + metadata.getCheckpointId() + " (" + file.getParent() + "): it holds state that is not sealed, "
                            + String.join(", ", unsealed.subList(0, Math.min(SHOWN, unsealed.size()))) + (more > 0 ? " and " + more + " more" : "")
                            + ". Give every JobManager, TaskManager and client the same checkpoint storage class and sealed+ directories"
                            + " (changelog and ForSt directories included); when leaving plaintext state behind, restore with NO_CLAIM");
        }
    }

    private void deleteAfter(Exception refusal) {
        try {
            fileSystem.delete(file, false);
        } catch (IOException error) {
            refusal.addSuppressed(error);
        }
    }
}
