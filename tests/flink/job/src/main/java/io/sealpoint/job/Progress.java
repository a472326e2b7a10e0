package io.sealpoint.job;

import java.io.IOException;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import org.apache.flink.api.common.TaskInfo;

/** How many orders a subtask has seen since its attempt started: a file {@code SUBTASK-ATTEMPT}, eight bytes, never behind. */
final class Progress {

    private final MappedByteBuffer file;
    private long seen;

    Progress(String directory, TaskInfo task) throws IOException {
        Path path = Paths.get(directory, task.getIndexOfThisSubtask() + "-" + task.getAttemptNumber());
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            file = channel.map(FileChannel.MapMode.READ_WRITE, 0, Long.BYTES);
        }
    }

    void oneMore() {
        file.putLong(0, ++seen);
    }
}
