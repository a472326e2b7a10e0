package io.sealpoint.flink;

import org.apache.flink.api.common.RuntimeExecutionMode;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.api.java.tuple.Tuple3;
import org.apache.flink.core.fs.Path;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

import java.util.ArrayList;
import java.util.List;

/**
 * The state of a checkpoint or savepoint under new keys, sealed anew by a whole cluster:
 *
 * <pre>flink run -p 16 -c io.sealpoint.flink.ReencryptJob lib/sealpoint-flink-....jar sealed+s3://old/savepoint-1 sealed+s3://new/savepoint-1</pre>
 *
 * <p>A batch job whose work is split by file, each task sealing under data keys of its own, which are drawn when it starts. Each file is
 * compared with its source before it counts. {@code _metadata} comes last, when all the files that it names are there: without it nobody restores from what
 * is half done. The source is never changed.
 */
public final class ReencryptJob {
    private ReencryptJob() {}

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 2) {
            throw new IllegalArgumentException("two arguments are needed: the checkpoint or savepoint, and the directory that is to hold it under new keys");
        }
        Relocation relocation = new Relocation(new Path(arguments[0]), new Path(arguments[1]));
        relocation.refuseTakenTarget();
        List<Tuple3<String, Long, Boolean>> files = new ArrayList<>();
        for (Relocation.StateFile file : relocation.files()) {
            files.add(Tuple3.of(file.path, file.length, file.isPart));
        }
        // One more, for a savepoint whose state is all inside its metadata.
        files.add(Tuple3.of("", 0L, false));

        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        env.setRuntimeMode(RuntimeExecutionMode.BATCH);
        env.fromData(files, Types.TUPLE(Types.STRING, Types.LONG, Types.BOOLEAN))
                .name("files")
                .rebalance()
                .map(new SealFileAnew(relocation))
                .name("seal anew")
                // Said, or else Flink's batch scheduler gives so few bytes of records to a single task.
                .setParallelism(env.getParallelism())
                .global()
                .map(new SealMetadataAnew(relocation, files.size()))
                .name("metadata")
                .setParallelism(1)
                .sinkTo(new DiscardingSink<>())
                .setParallelism(1);
        env.execute("re-encrypt " + relocation.source() + " to " + relocation.target());
    }
}
