package io.sealpoint.job;

import java.io.Writer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.List;
import java.util.UUID;
import org.apache.flink.api.common.TaskInfo;
import org.apache.flink.api.common.state.ListState;
import org.apache.flink.api.common.state.ListStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.runtime.state.FunctionInitializationContext;
import org.apache.flink.runtime.state.FunctionSnapshotContext;
import org.apache.flink.streaming.api.checkpoint.CheckpointedFunction;
import org.apache.flink.streaming.api.functions.ProcessFunction;
import org.apache.flink.util.Collector;

/**
 * Writes the report, one file a subtask. Keeps a ledger in operator list state, small enough that Flink puts it into
 * {@code _metadata} itself, and reports that too.
 */
final class ReportWriter extends ProcessFunction<String, Void> implements CheckpointedFunction {

    private static final long serialVersionUID = 1L;
    private static final int LEDGER_ENTRIES = 24;

    private final String directory;
    private transient ListState<String> ledgerState;
    private transient List<String> ledger;
    private transient Writer file;

    ReportWriter(String directory) {
        this.directory = directory;
    }

    @Override
    public void initializeState(FunctionInitializationContext context) throws Exception {
        ledgerState = context.getOperatorStateStore().getListState(new ListStateDescriptor<>("ledger", Types.STRING));
        ledger = new ArrayList<>();
        if (context.isRestored()) {
            for (String entry : ledgerState.get()) {
                check(entry);
                ledger.add(entry);
            }
        } else {
            TaskInfo task = getRuntimeContext().getTaskInfo();
            for (int i = task.getIndexOfThisSubtask(); i < LEDGER_ENTRIES; i += task.getNumberOfParallelSubtasks()) {
                ledger.add(Personal.ledgerEntry(i));
            }
        }
    }

    private static void check(String entry) {
        int space = entry.indexOf(' ');
        if (space < 0 || !Personal.ledgerEntry(Integer.parseInt(entry.substring(0, space))).equals(entry)) {
            throw new IllegalStateException("WRONG STATE: a ledger entry is not what was stored");
        }
    }

    @Override
    public void snapshotState(FunctionSnapshotContext context) throws Exception {
        ledgerState.update(ledger);
    }

    @Override
    public void processElement(String line, Context context, Collector<Void> out) throws Exception {
        if (file == null) {
            Path path = Paths.get(directory, UUID.randomUUID() + ".csv");
            file = Files.newBufferedWriter(path);
            for (String entry : ledger) {
                file.write("ledger," + entry.substring(0, entry.indexOf(' ')) + "\n");
            }
        }
        file.write(line + "\n");
    }

    @Override
    public void close() throws Exception {
        if (file != null) {
            file.close();
        }
    }
}
