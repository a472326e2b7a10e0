package io.sealpoint.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.CheckpointProperties;
import org.apache.flink.runtime.checkpoint.CheckpointRetentionPolicy;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.MasterState;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.StateObjectCollection;
import org.apache.flink.runtime.checkpoint.channel.InputChannelInfo;
import org.apache.flink.runtime.checkpoint.channel.ResultSubpartitionInfo;
import org.apache.flink.runtime.checkpoint.filemerging.LogicalFile.LogicalFileId;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.checkpoint.metadata.MetadataSerializer;
import org.apache.flink.runtime.checkpoint.metadata.MetadataSerializers;
import org.apache.flink.runtime.jobgraph.OperatorID;
import org.apache.flink.runtime.state.AbstractChannelStateHandle;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.InputChannelStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeOffsets;
import org.apache.flink.runtime.state.KeyGroupsSavepointStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.OperatorStreamStateHandle;
import org.apache.flink.runtime.state.ResultSubpartitionStateHandle;
import org.apache.flink.runtime.state.StateHandleID;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle.ChangelogStateBackendHandleImpl;
import org.apache.flink.runtime.state.changelog.ChangelogStateHandleStreamImpl;
import org.apache.flink.runtime.state.changelog.SequenceNumber;
import org.apache.flink.runtime.state.changelog.StateChange;
import org.apache.flink.runtime.state.changelog.inmemory.InMemoryChangelogStateHandle;
import org.apache.flink.runtime.state.filemerging.DirectoryStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.EmptyFileMergingOperatorStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.EmptySegmentFileStateHandle;
import org.apache.flink.runtime.state.filemerging.FileMergingOperatorStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.SegmentFileStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.filesystem.RelativeFileStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.reflect.Constructor;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;

/**
 * The metadata in tests/vectors/metadata, from which the native reader is tested, are what this Flink writes, and name what this Flink reads
 * out of them. {@code -Dsealpoint.vectors.write=true} writes them anew.
 */
class MetadataVectorsTest {
    private static final java.nio.file.Path FOLDER = java.nio.file.Path.of("..", "tests", "vectors", "metadata");
    private static final KeyGroupRange GROUPS = KeyGroupRange.of(3, 5);
    private static final String ROOT = "sealed+s3://bucket/checkpoints/job/";

    private int files;

    /** What only this Flink can write: tests of the other line leave the other files alone. */
    static List<Integer> versions() {
        return isFlink2() ? List.of(5, 6) : List.of(3, 4);
    }

    @ParameterizedTest
    @MethodSource("versions")
    void theVectorsAreWhatThisFlinkWritesAndReads(int version, @TempDir java.nio.file.Path checkpoint) throws Exception {
        MetadataSerializer serializer = MetadataSerializers.getSerializer(version);
        ByteArrayOutputStream written = new ByteArrayOutputStream();
        Checkpoints.storeCheckpointMetadata(checkpoint(version), new DataOutputStream(written), serializer);
        check("v" + version, version, written.toByteArray(), checkpoint);
    }

    /** Version 2 and the first forms of four handles are written by no Flink any more, and read by every one. */
    @ParameterizedTest
    @MethodSource("old")
    void theOldFormsAreReadByThisFlink(int version, @TempDir java.nio.file.Path checkpoint) throws Exception {
        ByteArrayOutputStream written = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(written);
        out.writeInt(Checkpoints.HEADER_MAGIC_NUMBER);
        out.writeInt(version);
        out.writeLong(11);
        out.writeInt(0);
        out.writeInt(1);
        out.writeLong(1);
        out.writeLong(2);
        out.writeInt(3);
        out.writeInt(128);
        out.writeInt(1);
        out.writeInt(3);
        for (int subtask = 0; subtask < 3; subtask++) {
            out.writeInt(subtask);
            out.writeLong(-1);
            out.writeInt(0);
            out.writeInt(0);
            out.writeInt(0);
            if (subtask == 0) {
                oldKeyGroups(out);
            } else if (subtask == 1) {
                oldIncremental(out);
            } else {
                oldChangelog(out);
            }
            out.writeByte(0);
        }
        check("v2", version, written.toByteArray(), checkpoint);
    }

    static List<Integer> old() {
        return List.of(2);
    }

    private void check(String name, int version, byte[] metadata, java.nio.file.Path checkpoint) throws Exception {
        Files.write(checkpoint.resolve("_metadata"), metadata);
        CheckpointMetadata read = Checkpoints.loadCheckpointMetadata(
                new DataInputStream(new ByteArrayInputStream(metadata)), getClass().getClassLoader(), checkpoint.toUri().toString());
        List<String> references = new ArrayList<>();
        for (OperatorState operator : read.getOperatorStates()) {
            for (OperatorSubtaskState subtask : operator.getStates()) {
                subtask.getManagedOperatorState().forEach(handle -> handle("operator", handle, references));
                subtask.getRawOperatorState().forEach(handle -> handle("operator", handle, references));
                subtask.getManagedKeyedState().forEach(handle -> handle("keyed", handle, references));
                subtask.getRawKeyedState().forEach(handle -> handle("keyed", handle, references));
                subtask.getInputChannelState().forEach(handle -> handle("channel", handle, references));
                subtask.getResultSubpartitionState().forEach(handle -> handle("channel", handle, references));
            }
        }
        String vector = "{\n  \"version\": " + version + ",\n  \"checkpoint\": " + read.getCheckpointId() + ",\n  \"operators\": "
                + read.getOperatorStates().size() + ",\n  \"references\": [\n    " + String.join(",\n    ", references)
                + "\n  ],\n  \"metadata\": \"" + Base64.getEncoder().encodeToString(metadata) + "\"\n}\n";
        java.nio.file.Path file = FOLDER.resolve(name + ".json");
        if (Boolean.getBoolean("sealpoint.vectors.write")) {
            Files.createDirectories(FOLDER);
            Files.writeString(file, vector);
        }
        assertEquals(Files.readString(file), vector);
    }

    // ---- what Flink reads

    private static void handle(String role, StateObject handle, List<String> found) {
        if (handle instanceof RelativeFileStateHandle) {
            RelativeFileStateHandle file = (RelativeFileStateHandle) handle;
            found.add(reference(role, file.getRelativePath(), true, "whole", 0, file.getStateSize()));
        } else if (handle instanceof EmptySegmentFileStateHandle) {
            return;
        } else if (handle instanceof SegmentFileStateHandle) {
            SegmentFileStateHandle file = (SegmentFileStateHandle) handle;
            found.add(reference(role, file.getFilePath().toString(), false, "segment", file.getStartPos(), file.getStateSize()));
        } else if (handle instanceof FileStateHandle) {
            FileStateHandle file = (FileStateHandle) handle;
            found.add(reference(role, file.getFilePath().toString(), false, role.equals("changelog") ? "unsized" : "whole", 0,
                    role.equals("changelog") ? 0 : file.getStateSize()));
        } else if (handle instanceof DirectoryStreamStateHandle) {
            found.add(reference(role, ((DirectoryStreamStateHandle) handle).getDirectory().toString(), false, "directory", 0, 0));
        } else if (handle instanceof OperatorStateHandle) {
            if (handle instanceof FileMergingOperatorStreamStateHandle) {
                handle(role, ((FileMergingOperatorStreamStateHandle) handle).getTaskOwnedDirHandle(), found);
                handle(role, ((FileMergingOperatorStreamStateHandle) handle).getSharedDirHandle(), found);
            }
            handle(role, ((OperatorStateHandle) handle).getDelegateStateHandle(), found);
        } else if (handle instanceof KeyGroupsStateHandle) {
            handle(role, ((KeyGroupsStateHandle) handle).getDelegateStateHandle(), found);
        } else if (handle instanceof IncrementalRemoteKeyedStateHandle) {
            IncrementalRemoteKeyedStateHandle incremental = (IncrementalRemoteKeyedStateHandle) handle;
            handle(role, incremental.getMetaDataStateHandle(), found);
            incremental.getSharedState().forEach(file -> handle(role, file.getHandle(), found));
            incremental.getPrivateState().forEach(file -> handle(role, file.getHandle(), found));
        } else if (handle instanceof ChangelogStateBackendHandle) {
            ((ChangelogStateBackendHandle) handle).getMaterializedStateHandles().forEach(part -> handle(role, part, found));
            ((ChangelogStateBackendHandle) handle).getNonMaterializedStateHandles().forEach(part -> handle(role, part, found));
        } else if (handle instanceof ChangelogStateHandleStreamImpl) {
            ((ChangelogStateHandleStreamImpl) handle).getHandlesAndOffsets().forEach(part -> handle("changelog", part.f0, found));
        } else if (handle instanceof AbstractChannelStateHandle) {
            handle(role, ((AbstractChannelStateHandle<?>) handle).getDelegate(), found);
        } else if (handle.getClass().getSimpleName().startsWith("Merged")) {
            handle(role, call(handle, "getDelegate"), found);
        }
    }

    private static String reference(String role, String path, boolean relative, String extent, long start, long length) {
        return "{\"role\": \"" + role + "\", \"path\": \"" + path + "\", \"relative\": " + relative + ", \"extent\": \"" + extent + "\", \"start\": "
                + start + ", \"length\": " + length + "}";
    }

    // ---- a checkpoint with every kind of handle there is

    private CheckpointMetadata checkpoint(int version) throws Exception {
        OperatorState first = operator(version, 1, 3);
        first.setCoordinatorState(new ByteStreamStateHandle("coordinator", new byte[] {1, 2, 3}));
        first.putState(0, OperatorSubtaskState.builder()
                .setManagedOperatorState(operatorHandle(relative()))
                .setRawOperatorState(operatorHandle(inline()))
                .setManagedKeyedState(new KeyGroupsSavepointStateHandle(offsets(), relative()))
                .setRawKeyedState(KeyGroupsStateHandle.restore(offsets(), absolute(), new StateHandleID("raw")))
                .setInputChannelState(new StateObjectCollection<>(List.of(
                        new InputChannelStateHandle(0, new InputChannelInfo(1, 2), absolute(), List.of(4L, 9L), 12),
                        new InputChannelStateHandle(0, new InputChannelInfo(1, 3), relative(), List.of(7L), 5))))
                .setResultSubpartitionState(new StateObjectCollection<>(List.of(
                        new ResultSubpartitionStateHandle(0, new ResultSubpartitionInfo(0, 1), segment(), List.of(0L), 3))))
                .build());
        first.putState(1, OperatorSubtaskState.builder()
                .setManagedOperatorState(new FileMergingOperatorStreamStateHandle(directory("taskowned/job_1_tm_a"), directory("shared/job_1_op"), Map.of(), segment()))
                .setRawOperatorState(EmptyFileMergingOperatorStreamStateHandle.create(directory("taskowned/job_1_tm_a"), directory("shared/job_1_op")))
                .setManagedKeyedState(incremental())
                .build());
        first.putState(2, OperatorSubtaskState.builder().setManagedKeyedState(changelog()).build());
        OperatorState second = operator(version, 2, 2);
        second.putState(0, finished());
        OperatorSubtaskState.Builder merged = OperatorSubtaskState.builder().setManagedKeyedState(
                KeyGroupsStateHandle.restore(offsets(), new KeyGroupsStateHandle(offsets(), segment()), new StateHandleID("nested")));
        if (version >= 6) {
            merged.setInputChannelState(new StateObjectCollection<>(List.of(merged("MergedInputChannelStateHandle"))));
            merged.setResultSubpartitionState(new StateObjectCollection<>(List.of(merged("MergedResultSubpartitionStateHandle"))));
        }
        second.putState(1, merged.build());
        List<MasterState> hooks = List.of(new MasterState("hook", new byte[] {5, 6}, 1), new MasterState("\u00e9", new byte[0], 2));
        return new CheckpointMetadata(
                4711, List.of(first, second, fullyFinished()), hooks, CheckpointProperties.forCheckpoint(CheckpointRetentionPolicy.RETAIN_ON_CANCELLATION));
    }

    private KeyedStateHandle incremental() {
        return IncrementalRemoteKeyedStateHandle.restore(
                new UUID(1, 2), GROUPS, 4711, List.of(HandleAndLocalPath.of(absolute(), "000012.sst"), HandleAndLocalPath.of(inline(), "000013.sst")),
                List.of(HandleAndLocalPath.of(relative(), "MANIFEST-000004"), HandleAndLocalPath.of(segment(), "CURRENT")), relative(), 99,
                new StateHandleID("incremental"));
    }

    private KeyedStateHandle changelog() {
        return ChangelogStateBackendHandleImpl.restore(
                List.of(KeyGroupsStateHandle.restore(offsets(), absolute(), new StateHandleID("base")), incremental()),
                List.of(
                        ChangelogStateHandleStreamImpl.restore(
                                List.of(Tuple2.of(absolute(), 8L), Tuple2.of(inline(), 0L)), GROUPS, 20, 20, "filesystem", new StateHandleID("changes")),
                        InMemoryChangelogStateHandle.restore(
                                List.of(StateChange.ofDataChange(3, new byte[] {1}), StateChange.ofMetadataChange(new byte[] {2, 3})),
                                SequenceNumber.of(1), SequenceNumber.of(3), GROUPS, new StateHandleID("memory"))),
                GROUPS, 4711, 9, 60, new StateHandleID("changelog"));
    }

    private static KeyGroupRangeOffsets offsets() {
        return new KeyGroupRangeOffsets(GROUPS, new long[] {0, 17, 40});
    }

    private OperatorStateHandle operatorHandle(StreamStateHandle file) {
        Map<String, OperatorStateHandle.StateMetaInfo> parts = new LinkedHashMap<>();
        parts.put("union", new OperatorStateHandle.StateMetaInfo(new long[] {0, 8}, OperatorStateHandle.Mode.UNION));
        return new OperatorStreamStateHandle(new HashMap<>(parts), file);
    }

    private String name() {
        return new UUID(7, ++files).toString();
    }

    /** A path beyond ASCII and beyond the basic plane, with a blank and a percent sign in it, as an S3 key may have. */
    private FileStateHandle absolute() {
        return new FileStateHandle(new Path(ROOT + "shared/\u00fc \ud83d\udd12 100%/" + name()), 1000 + files);
    }

    private RelativeFileStateHandle relative() {
        String name = name();
        return new RelativeFileStateHandle(new Path(ROOT + "chk-4711/" + name), name, 1000 + files);
    }

    private SegmentFileStateHandle segment() {
        return new SegmentFileStateHandle(
                new Path(ROOT + "shared/job_1_op/" + name()), 64L * files, 1000 + files, CheckpointedStateScope.SHARED, new LogicalFileId("logical-" + files));
    }

    private static ByteStreamStateHandle inline() {
        return new ByteStreamStateHandle(ROOT + "chk-4711/inlined", "state".getBytes(StandardCharsets.UTF_8));
    }

    private static DirectoryStreamStateHandle directory(String name) {
        return DirectoryStreamStateHandle.of(new Path(ROOT + name));
    }

    // ---- what differs between the two lines of Flink

    private static boolean isFlink2() {
        return Checkpoints.class.getClassLoader().getResource("org/apache/flink/runtime/checkpoint/metadata/MetadataV6Serializer.class") != null;
    }

    private static OperatorState operator(int version, int id, int parallelism) throws Exception {
        return construct(OperatorState.class, id, parallelism);
    }

    private static OperatorState fullyFinished() throws Exception {
        return construct(Class.forName("org.apache.flink.runtime.checkpoint.FullyFinishedOperatorState").asSubclass(OperatorState.class), 3, 4);
    }

    private static <T> T construct(Class<T> type, int id, int parallelism) throws Exception {
        Constructor<?> constructor = type.getConstructors()[0];
        OperatorID operator = new OperatorID(id, id + 1);
        Object made = constructor.getParameterCount() == 3
                ? constructor.newInstance(operator, parallelism, 128)
                : constructor.newInstance("name " + id, "uid-" + id, operator, parallelism, 128);
        return type.cast(made);
    }

    private static OperatorSubtaskState finished() throws Exception {
        return (OperatorSubtaskState) Class.forName("org.apache.flink.runtime.checkpoint.FinishedOperatorSubtaskState").getField("INSTANCE").get(null);
    }

    @SuppressWarnings("unchecked")
    private <T extends StateObject> T merged(String type) throws Exception {
        return (T) Class.forName("org.apache.flink.runtime.state." + type)
                .getConstructor(int.class, StreamStateHandle.class, long.class, byte[].class)
                .newInstance(1, absolute(), 12L, new byte[] {9, 9, 9});
    }

    private static StateObject call(Object target, String method) {
        try {
            return (StateObject) target.getClass().getMethod(method).invoke(target);
        } catch (ReflectiveOperationException error) {
            throw new AssertionError(error);
        }
    }

    // ---- the first forms of handles, as MetadataV2V3SerializerBase reads them

    private void oldKeyGroups(DataOutputStream out) throws IOException {
        out.writeByte(3);
        range(out);
        for (int group = 0; group < 3; group++) {
            out.writeLong(group);
        }
        file(out);
    }

    private void oldIncremental(DataOutputStream out) throws IOException {
        out.writeByte(5);
        out.writeLong(11);
        out.writeUTF("not a uuid");
        range(out);
        file(out);
        for (int list = 0; list < 2; list++) {
            out.writeInt(1);
            out.writeUTF("00000" + list + ".sst");
            file(out);
        }
    }

    private void oldChangelog(DataOutputStream out) throws IOException {
        out.writeByte(8);
        range(out);
        out.writeLong(60);
        out.writeInt(1);
        oldKeyGroups(out);
        out.writeInt(1);
        out.writeByte(10);
        range(out);
        out.writeInt(1);
        out.writeLong(3);
        file(out);
        out.writeLong(20);
        out.writeLong(20);
        out.writeUTF("changes");
        out.writeLong(9);
        out.writeUTF("changelog");
    }

    private static void range(DataOutputStream out) throws IOException {
        out.writeInt(GROUPS.getStartKeyGroup());
        out.writeInt(GROUPS.getNumberOfKeyGroups());
    }

    private void file(DataOutputStream out) throws IOException {
        FileStateHandle file = absolute();
        out.writeByte(2);
        out.writeLong(file.getStateSize());
        out.writeUTF(file.getFilePath().toString());
    }
}
