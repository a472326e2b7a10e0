package io.sealpoint.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.StateObjectCollection;
import org.apache.flink.runtime.checkpoint.channel.InputChannelInfo;
import org.apache.flink.runtime.checkpoint.channel.ResultSubpartitionInfo;
import org.apache.flink.runtime.checkpoint.filemerging.LogicalFile.LogicalFileId;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.InputChannelStateHandle;
import org.apache.flink.runtime.state.KeyGroupRange;
import org.apache.flink.runtime.state.KeyGroupRangeOffsets;
import org.apache.flink.runtime.state.KeyGroupsSavepointStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.KeyedStateHandle;
import org.apache.flink.runtime.state.OperatorStreamStateHandle;
import org.apache.flink.runtime.state.ResultSubpartitionStateHandle;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle.ChangelogStateBackendHandleImpl;
import org.apache.flink.runtime.state.changelog.ChangelogStateHandleStreamImpl;
import org.apache.flink.runtime.state.filemerging.DirectoryStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.FileMergingOperatorStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.SegmentFileStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.util.HashMap;
import java.util.List;
import java.util.TreeSet;
import java.util.UUID;
import java.util.function.Function;
import java.util.stream.Stream;

/** Wherever in a checkpoint an unsealed file hides, the guard finds it, and it takes no sealed one for unsealed. */
class UnsealedStateTest {
    private static final KeyGroupRange GROUPS = KeyGroupRange.of(0, 1);
    private static final StreamStateHandle INLINE = new ByteStreamStateHandle("inline", new byte[1]);
    private static final LogicalFileId LOGICAL = LogicalFileId.generateRandomId();

    static Stream<Arguments> places() {
        return Stream.of(
                place("managed operator state", file -> subtask().setManagedOperatorState(operator(file))),
                place("raw operator state", file -> subtask().setRawOperatorState(operator(file))),
                place("merged operator state", file -> subtask().setManagedOperatorState(new FileMergingOperatorStreamStateHandle(
                        DirectoryStreamStateHandle.of(file.getFilePath()), DirectoryStreamStateHandle.of(file.getFilePath()), new HashMap<>(), segment(file)))),
                place("key groups", file -> keyed(new KeyGroupsStateHandle(new KeyGroupRangeOffsets(GROUPS), file))),
                place("raw key groups", file -> subtask().setRawKeyedState(new KeyGroupsStateHandle(new KeyGroupRangeOffsets(GROUPS), file))),
                place("savepoint key groups", file -> keyed(new KeyGroupsSavepointStateHandle(new KeyGroupRangeOffsets(GROUPS), file))),
                place("merged key groups", file -> keyed(new KeyGroupsStateHandle(new KeyGroupRangeOffsets(GROUPS), segment(file)))),
                place("incremental shared", file -> keyed(incremental(List.of(HandleAndLocalPath.of(file, "1.sst")), List.of(), INLINE))),
                place("incremental private", file -> keyed(incremental(List.of(), List.of(HandleAndLocalPath.of(file, "MANIFEST")), INLINE))),
                place("incremental metadata", file -> keyed(incremental(List.of(), List.of(), file))),
                place("changelog, materialized", file -> keyed(new ChangelogStateBackendHandleImpl(
                        List.of(new KeyGroupsStateHandle(new KeyGroupRangeOffsets(GROUPS), file)), List.of(), GROUPS, 1, 1, 1))),
                place("changelog", file -> keyed(new ChangelogStateBackendHandleImpl(
                        List.of(),
                        List.of(new ChangelogStateHandleStreamImpl(List.of(Tuple2.of(file, 0L)), GROUPS, 1, 1, "filesystem")),
                        GROUPS, 1, 1, 1))),
                place("input channels", file -> subtask().setInputChannelState(StateObjectCollection.singleton(
                        new InputChannelStateHandle(new InputChannelInfo(0, 0), file, List.of(0L))))),
                place("output channels", file -> subtask().setResultSubpartitionState(StateObjectCollection.singleton(
                        new ResultSubpartitionStateHandle(new ResultSubpartitionInfo(0, 0), file, List.of(0L))))));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("places")
    void an_unsealed_file_is_found(String place, Function<FileStateHandle, OperatorSubtaskState.Builder> state) {
        assertEquals(List.of("file:/clear"), List.copyOf(new TreeSet<>(UnsealedState.in(checkpoint(state, "file:/clear")))));
        assertEquals(List.of(), UnsealedState.in(checkpoint(state, "sealed+file:/sealed")));
    }

    private static CheckpointMetadata checkpoint(Function<FileStateHandle, OperatorSubtaskState.Builder> state, String file) {
        OperatorState operator = FlinkSetup.operator(1);
        operator.putState(0, state.apply(new FileStateHandle(new Path(file), 1)).build());
        return new CheckpointMetadata(1, List.of(operator), List.of());
    }

    private static Arguments place(String name, Function<FileStateHandle, OperatorSubtaskState.Builder> state) {
        return Arguments.of(name, state);
    }

    private static OperatorSubtaskState.Builder subtask() {
        return OperatorSubtaskState.builder();
    }

    private static OperatorSubtaskState.Builder keyed(KeyedStateHandle handle) {
        return subtask().setManagedKeyedState(handle);
    }

    private static OperatorStreamStateHandle operator(StreamStateHandle file) {
        return new OperatorStreamStateHandle(new HashMap<>(), file);
    }

    private static SegmentFileStateHandle segment(FileStateHandle file) {
        return new SegmentFileStateHandle(file.getFilePath(), 0, 1, CheckpointedStateScope.EXCLUSIVE, LOGICAL);
    }

    private static IncrementalRemoteKeyedStateHandle incremental(
            List<HandleAndLocalPath> shared, List<HandleAndLocalPath> own, StreamStateHandle metadata) {
        return new IncrementalRemoteKeyedStateHandle(new UUID(1, 2), GROUPS, 1, shared, own, metadata);
    }
}
