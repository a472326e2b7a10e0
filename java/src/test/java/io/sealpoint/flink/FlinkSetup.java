package io.sealpoint.flink;

import io.sealpoint.TestKeys;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.CheckpointMetadataOutputStream;
import org.apache.flink.runtime.state.CheckpointStorageLocation;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.OperatorStreamStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;

import java.io.IOException;
import java.lang.reflect.Constructor;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;

/** Flink's file systems, with Sealpoint among them, configured as a process does at its start. */
final class FlinkSetup {
    private FlinkSetup() {}

    /** A configuration that seals, plus these options. */
    static Configuration configuration(String... more) {
        Configuration configuration = new Configuration();
        TestKeys.options().forEach((key, value) -> configuration.setString("sealpoint." + key, value));
        for (int i = 0; i < more.length; i += 2) {
            configuration.setString(more[i], more[i + 1]);
        }
        return configuration;
    }

    static void start(String... more) {
        FileSystem.initialize(configuration(more), null);
    }

    static Path sealed(java.nio.file.Path file) {
        return new Path("sealed+file:" + file.toAbsolutePath());
    }

    static void write(Path file, byte[] content) throws IOException {
        try (FSDataOutputStream out = file.getFileSystem().create(file, FileSystem.WriteMode.NO_OVERWRITE)) {
            out.write(content);
        }
    }

    static byte[] read(Path file) throws IOException {
        try (FSDataInputStream in = file.getFileSystem().open(file)) {
            return in.readAllBytes();
        }
    }

    /** Flink 2 gives operators names. */
    static OperatorState operator(int parallelism) {
        try {
            Constructor<?> constructor = OperatorState.class.getConstructors()[0];
            OperatorID id = new OperatorID(3, 4);
            return (OperatorState) (constructor.getParameterCount() == 3
                    ? constructor.newInstance(id, parallelism, 128)
                    : constructor.newInstance("name", "uid", id, parallelism, 128));
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Completes a checkpoint of one operator, each of whose subtasks has one of these files. */
    static CompletedCheckpointStorageLocation complete(CheckpointStorageLocation location, long id, StreamStateHandle... files)
            throws IOException {
        OperatorState operator = operator(files.length);
        for (int i = 0; i < files.length; i++) {
            operator.putState(
                    i,
                    OperatorSubtaskState.builder()
                            .setManagedOperatorState(new OperatorStreamStateHandle(new HashMap<>(), files[i]))
                            .build());
        }
        CheckpointMetadata metadata = new CheckpointMetadata(id, List.of(operator), Collections.emptyList());
        try (CheckpointMetadataOutputStream out = location.createMetadataOutputStream()) {
            Checkpoints.storeCheckpointMetadata(metadata, out);
            return out.closeAndFinalizeCheckpoint();
        }
    }
}
