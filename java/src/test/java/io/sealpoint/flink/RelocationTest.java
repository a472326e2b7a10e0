package io.sealpoint.flink;

import static io.sealpoint.flink.FlinkSetup.read;
import static io.sealpoint.flink.FlinkSetup.sealed;
import static io.sealpoint.flink.FlinkSetup.write;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.Rewrapped;

import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.filesystem.RelativeFileStateHandle;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.ByteArrayInputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.stream.Stream;

/** A checkpoint with a file of its own, one that it shares with others of its job, and one that lies elsewhere, sealed anew at another place. */
class RelocationTest {
    @TempDir java.nio.file.Path root;

    private final byte[] state = new byte[100_000];
    private java.nio.file.Path checkpoint;
    private java.nio.file.Path target;
    private List<java.nio.file.Path> files;

    @BeforeEach
    void checkpoint() throws IOException {
        FlinkSetup.start();
        Arrays.fill(state, (byte) 7);
        checkpoint = Files.createDirectories(root.resolve("jobs/a/chk-5"));
        target = root.resolve("new");
        files = List.of(
                checkpoint.resolve(UUID.randomUUID().toString()),
                Files.createDirectories(root.resolve("jobs/a/shared")).resolve(UUID.randomUUID().toString()),
                Files.createDirectories(root.resolve("changes")).resolve(UUID.randomUUID().toString()));
        for (java.nio.file.Path file : files) {
            write(sealed(file), state);
        }
        writeMetadata(state.length);
    }

    @Test
    void every_file_moves_and_the_metadata_name_it_at_its_new_place() throws Exception {
        carryOut();
        Set<String> names = named(read(sealed(target.resolve("_metadata"))));
        Set<String> expected = new TreeSet<>();
        for (String file : List.of(
                "new/" + files.get(0).getFileName(),
                "new/shared/" + files.get(1).getFileName(),
                "new/elsewhere" + files.get(2))) {
            Path moved = sealed(file.startsWith("new/elsewhere") ? root.resolve("new/elsewhere" + files.get(2)) : root.resolve(file));
            assertArrayEquals(state, read(moved));
            expected.add(moved.toString());
        }
        assertEquals(expected, names);
        for (java.nio.file.Path file : files) {
            assertArrayEquals(state, read(sealed(file)), "the source stays");
        }
    }

    @Test
    void what_an_attempt_left_is_done_again_under_other_data_keys() throws Exception {
        carryOut();
        java.nio.file.Path half = target.resolve(files.get(0).getFileName());
        Set<String> first = dataKeys();
        Files.write(half, Arrays.copyOf(Files.readAllBytes(half), 50_000));
        carryOut();
        assertArrayEquals(state, read(sealed(half)));
        Set<String> again = dataKeys();
        again.retainAll(first);
        assertEquals(Set.of(), again);
    }

    @Test
    void a_file_that_is_shorter_than_the_metadata_say_is_refused_and_no_metadata_are_written() throws Exception {
        Files.delete(checkpoint.resolve("_metadata"));
        writeMetadata(state.length + 1);
        EOFException error = assertThrows(EOFException.class, this::carryOut);
        assertTrue(error.getMessage().contains("100001"), error.getMessage());
        assertFalse(Files.exists(target.resolve("_metadata")));
    }

    @Test
    void a_place_inside_the_source_or_around_it_is_refused() {
        for (java.nio.file.Path place : List.of(checkpoint, checkpoint.resolve("x"), checkpoint.getParent())) {
            assertThrows(IOException.class, () -> new Relocation(sealed(checkpoint.resolve("_metadata")), sealed(place)));
        }
    }

    @Test
    void a_target_that_holds_a_checkpoint_is_refused() throws IOException {
        Relocation relocation = new Relocation(new Path(checkpoint.toString()), new Path(target.toString()));
        relocation.refuseTakenTarget();
        write(sealed(Files.createDirectories(target).resolve("_metadata")), state);
        IOException error = assertThrows(IOException.class, relocation::refuseTakenTarget);
        assertTrue(error.getMessage().contains("is there already"), error.getMessage());
    }

    @Test
    void two_files_that_would_become_one_are_refused() throws IOException {
        java.nio.file.Path shared = files.get(1);
        java.nio.file.Path namesake = Files.createDirectories(checkpoint.resolve("shared")).resolve(shared.getFileName());
        write(sealed(namesake), state);
        files = List.of(namesake, shared, files.get(2));
        Files.delete(checkpoint.resolve("_metadata"));
        writeMetadata(state.length);
        IOException error = assertThrows(IOException.class, this::carryOut);
        assertTrue(error.getMessage().contains("would both become"), error.getMessage());
        assertFalse(Files.exists(target));
    }

    @Test
    void a_relative_file_outside_its_directory_is_refused() throws IOException {
        for (String name : List.of("../shared/x", "a/../../x", "/x", "sealed+file:/x", "..")) {
            Files.delete(checkpoint.resolve("_metadata"));
            writeMetadata(new RelativeFileStateHandle(sealed(files.get(0)), name, state.length), state.length);
            IOException error = assertThrows(IOException.class, this::carryOut, name);
            assertTrue(error.getMessage().contains("leads out of its directory"), error.getMessage());
        }
    }

    /** What the job does, on one machine. */
    private void carryOut() throws IOException {
        Relocation relocation = new Relocation(new Path(checkpoint.toString()), new Path(target.toString()));
        boolean metadataBefore = Files.exists(target.resolve("_metadata"));
        SealFileAnew files = new SealFileAnew(relocation);
        SealMetadataAnew metadata = new SealMetadataAnew(relocation, relocation.files().size() + 1);
        for (Relocation.StateFile file : relocation.files()) {
            metadata.map(files.map(Tuple3.of(file.path, file.length, file.isPart)));
            assertFalse(!metadataBefore && Files.exists(target.resolve("_metadata")), "they come last");
        }
        metadata.map(files.map(Tuple3.of("", 0L, false)));
        files.close();
    }

    /** Of everything at the new place. */
    private Set<String> dataKeys() throws IOException {
        Set<String> keys = new TreeSet<>();
        try (Stream<java.nio.file.Path> found = Files.walk(target)) {
            for (java.nio.file.Path file : found.filter(Files::isRegularFile).toArray(java.nio.file.Path[]::new)) {
                keys.add(Rewrapped.dataKey(Files.readAllBytes(file)));
            }
        }
        return keys;
    }

    private void writeMetadata(long length) throws IOException {
        writeMetadata(handle(0, length), length);
    }

    private void writeMetadata(StreamStateHandle own, long length) throws IOException {
        List<HandleAndLocalPath> shared = List.of(
                HandleAndLocalPath.of(handle(1, length), "1.sst"), HandleAndLocalPath.of(handle(2, length), "2.sst"));
        OperatorState operator = FlinkSetup.operator(1);
        operator.putState(0, OperatorSubtaskState.builder()
                .setManagedKeyedState(new IncrementalRemoteKeyedStateHandle(
                        new UUID(1, 2), KeyGroupRange.of(0, 1), 5, shared, List.of(), own))
                .build());
        Path metadata = sealed(checkpoint.resolve("_metadata"));
        try (FSDataOutputStream out = metadata.getFileSystem().create(metadata, WriteMode.NO_OVERWRITE);
                DataOutputStream data = new DataOutputStream(out)) {
            Checkpoints.storeCheckpointMetadata(new CheckpointMetadata(5, List.of(operator), List.of()), data);
        }
    }

    private StreamStateHandle handle(int file, long length) {
        return new FileStateHandle(sealed(files.get(file)), length);
    }

    private static Set<String> named(byte[] metadata) throws IOException {
        DataInputStream in = new DataInputStream(new ByteArrayInputStream(metadata));
        CheckpointMetadata loaded = Checkpoints.loadCheckpointMetadata(in, RelocationTest.class.getClassLoader(), "moved");
        Set<String> names = new TreeSet<>();
        OperatorSubtaskState subtask = loaded.getOperatorStates().iterator().next().getState(0);
        IncrementalRemoteKeyedStateHandle keyed = (IncrementalRemoteKeyedStateHandle) subtask.getManagedKeyedState().iterator().next();
        names.add(((FileStateHandle) keyed.getMetaDataStateHandle()).getFilePath().toString());
        keyed.getSharedState().forEach(shared -> names.add(((FileStateHandle) shared.getHandle()).getFilePath().toString()));
        return names;
    }
}
