package io.sealpoint.flink;

import org.apache.flink.api.java.tuple.Tuple2;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.OperatorState;
import org.apache.flink.runtime.checkpoint.OperatorSubtaskState;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.AbstractChannelStateHandle;
import org.apache.flink.runtime.state.IncrementalKeyedStateHandle.HandleAndLocalPath;
import org.apache.flink.runtime.state.IncrementalRemoteKeyedStateHandle;
import org.apache.flink.runtime.state.KeyGroupsStateHandle;
import org.apache.flink.runtime.state.OperatorStateHandle;
import org.apache.flink.runtime.state.StateObject;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateBackendHandle;
import org.apache.flink.runtime.state.changelog.ChangelogStateHandleStreamImpl;
import org.apache.flink.runtime.state.changelog.inmemory.InMemoryChangelogStateHandle;
import org.apache.flink.runtime.state.filemerging.DirectoryStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.EmptySegmentFileStateHandle;
import org.apache.flink.runtime.state.filemerging.FileMergingOperatorStreamStateHandle;
import org.apache.flink.runtime.state.filemerging.SegmentFileStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.memory.ByteStreamStateHandle;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/**
 * Finds what a checkpoint's metadata refers to outside sealed paths. A kind of handle that it does not know counts as unsealed: better a
 * checkpoint declined than one in clear.
 */
final class UnsealedState {
    private final List<String> found = new ArrayList<>();

    private UnsealedState() {}

    /** The unsealed files, or unknown handles, that this checkpoint refers to. */
    static List<String> in(CheckpointMetadata metadata) {
        UnsealedState search = new UnsealedState();
        for (OperatorState operator : metadata.getOperatorStates()) {
            for (OperatorSubtaskState subtask : operator.getStates()) {
                search.subtask(subtask);
            }
        }
        return search.found;
    }

    private void subtask(OperatorSubtaskState subtask) {
        all(subtask.getManagedOperatorState());
        all(subtask.getRawOperatorState());
        all(subtask.getManagedKeyedState());
        all(subtask.getRawKeyedState());
        all(subtask.getInputChannelState());
        all(subtask.getResultSubpartitionState());
        // Whatever else a later Flink adds.
        for (StateObject discardable : subtask.getDiscardables()) {
            handle(discardable);
        }
    }

    private void all(Collection<? extends StateObject> handles) {
        handles.forEach(this::handle);
    }

    private void handle(StateObject handle) {
        if (handle == null || handle instanceof ByteStreamStateHandle || handle instanceof InMemoryChangelogStateHandle) {
            return; // inside _metadata itself, which is sealed
        }
        if (handle instanceof EmptySegmentFileStateHandle) {
            return; // file merging's name for no state at all; there is no file behind it
        }
        if (handle instanceof FileStateHandle) {
            path(((FileStateHandle) handle).getFilePath());
        } else if (handle instanceof SegmentFileStateHandle) {
            path(((SegmentFileStateHandle) handle).getFilePath());
        } else if (handle instanceof DirectoryStreamStateHandle) {
            path(((DirectoryStreamStateHandle) handle).getDirectory());
        } else if (handle instanceof FileMergingOperatorStreamStateHandle) {
            FileMergingOperatorStreamStateHandle merged = (FileMergingOperatorStreamStateHandle) handle;
            handle(merged.getDelegateStateHandle());
            handle(merged.getSharedDirHandle());
            handle(merged.getTaskOwnedDirHandle());
        } else if (handle instanceof OperatorStateHandle) {
            handle(((OperatorStateHandle) handle).getDelegateStateHandle());
        } else if (handle instanceof KeyGroupsStateHandle) {
            handle(((KeyGroupsStateHandle) handle).getDelegateStateHandle());
        } else if (handle instanceof IncrementalRemoteKeyedStateHandle) {
            incremental((IncrementalRemoteKeyedStateHandle) handle);
        } else if (handle instanceof ChangelogStateBackendHandle) {
            all(((ChangelogStateBackendHandle) handle).getMaterializedStateHandles());
            all(((ChangelogStateBackendHandle) handle).getNonMaterializedStateHandles());
        } else if (handle instanceof ChangelogStateHandleStreamImpl) {
            changelog((ChangelogStateHandleStreamImpl) handle);
        } else if (handle instanceof AbstractChannelStateHandle) {
            handle(((AbstractChannelStateHandle<?>) handle).getDelegate());
        } else {
            delegateOf(handle);
        }
    }

    private void incremental(IncrementalRemoteKeyedStateHandle handle) {
        handle(handle.getMetaDataStateHandle());
        for (HandleAndLocalPath file : handle.getSharedState()) {
            handle(file.getHandle());
        }
        for (HandleAndLocalPath file : handle.getPrivateState()) {
            handle(file.getHandle());
        }
    }

    private void changelog(ChangelogStateHandleStreamImpl handle) {
        for (Tuple2<StreamStateHandle, Long> part : handle.getHandlesAndOffsets()) {
            handle(part.f0);
        }
    }

    /** Flink 2 has handles for merged channel state, which Flink 1, against which this is compiled, does not know; they have a delegate. */
    private void delegateOf(StateObject handle) {
        try {
            Object delegate = handle.getClass().getMethod("getDelegate").invoke(handle);
            if (delegate instanceof StreamStateHandle) {
                handle((StreamStateHandle) delegate);
                return;
            }
        } catch (ReflectiveOperationException unknown) {
            // No delegate to look at.
        }
        found.add("a state handle of the unknown class " + handle.getClass().getName());
    }

    private void path(Path path) {
        if (!SealedPaths.isSealed(path)) {
            found.add(path.toString());
        }
    }
}
