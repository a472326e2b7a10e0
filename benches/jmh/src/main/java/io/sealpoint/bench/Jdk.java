package io.sealpoint.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.Options;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;

/** A Java that benchmarks run on, each in a fresh JVM of it. */
record Jdk(String name, int feature, Path java) {

    static Jdk at(Path home) throws IOException, InterruptedException {
        Path java = home.resolve("bin/java");
        if (!Files.isExecutable(java)) {
            throw new IOException("no Java at " + home);
        }
        for (String line : Files.readAllLines(home.resolve("release"))) {
            if (line.startsWith("JAVA_VERSION=")) {
                int feature = Runtime.Version.parse(line.substring(14, line.length() - 1)).feature();
                return new Jdk("JDK " + feature, feature, java);
            }
        }
        throw new IOException(home + "/release names no version");
    }

    /** MB/s and garbage in bytes a MB of one peer's streams. */
    void stream(String what, String peer, int warmUp, boolean quick, Samples samples) throws RunnerException {
        Options options = options("StreamBench." + what, peer)
                .warmupIterations(quick ? 2 : warmUp)
                .warmupTime(TimeValue.milliseconds(quick ? 600 : 1000))
                .measurementIterations(quick ? 2 : 3)
                .measurementTime(TimeValue.milliseconds(quick ? 600 : 800))
                .addProfiler(GCProfiler.class)
                .build();
        double megabytes = StreamBench.FILE / 1e6;
        for (IterationResult iteration : run(options)) {
            samples.add(what, name, peer, megabytes / (iteration.getPrimaryResult().getScore() / 1e3));
            Result<?> garbage = iteration.getSecondaryResults().get("gc.alloc.rate.norm");
            samples.add(what + " garbage", name, peer, garbage.getScore() / megabytes);
        }
    }

    /** Microseconds to open a file of 4 KiB. */
    void smallFile(String peer, boolean quick, Samples samples) throws RunnerException {
        for (IterationResult iteration : run(options("FileBench.open4KiB", peer)
                .warmupIterations(2)
                .warmupTime(TimeValue.milliseconds(quick ? 500 : 1000))
                .measurementIterations(quick ? 1 : 2)
                .measurementTime(TimeValue.milliseconds(500))
                .build())) {
            samples.add("4 KiB", name, peer, iteration.getPrimaryResult().getScore());
        }
    }

    /** The 99th percentile, in milliseconds, of sealing a file of 1 MiB. */
    void tail(boolean quick, Samples samples) throws RunnerException {
        for (IterationResult iteration : run(options("FileBench.seal1MiB", "sealpoint")
                .warmupIterations(2)
                .warmupTime(TimeValue.milliseconds(quick ? 500 : 1000))
                .measurementIterations(quick ? 1 : 2)
                .measurementTime(TimeValue.milliseconds(1000))
                .build())) {
            samples.add("1 MiB p99", name, "sealpoint", iteration.getPrimaryResult().getStatistics().getPercentile(99) / 1e3);
        }
    }

    /** Seconds that the first 64 MiB took in a fresh JVM, and the set-up before. */
    void firstFile(String peer, Samples samples) throws IOException, InterruptedException {
        String[] seconds = Child.output(command(FirstFile.class, peer)).trim().split(" ");
        samples.add("set-up", name, peer, Double.parseDouble(seconds[0]));
        samples.add("first 64 MiB", name, peer, Double.parseDouble(seconds[1]));
    }

    /** Calls to the key service a checkpoint, and waits of sealing threads for it. */
    void keyServiceCalls(Samples samples) throws IOException, InterruptedException {
        int checkpoints = 50;
        String[] counts = Child.output(command(KeyServiceCalls.class, String.valueOf(checkpoints), "20")).trim().split(" ");
        samples.add("key service calls", name, "sealpoint", Double.parseDouble(counts[0]) / checkpoints);
        samples.add("data keys drawn", name, "sealpoint", Double.parseDouble(counts[1]) / checkpoints);
        samples.add("waits", name, "sealpoint", Double.parseDouble(counts[2]));
    }

    private OptionsBuilder options(String benchmark, String peer) {
        OptionsBuilder options = new OptionsBuilder();
        options.include("\\." + benchmark.replace(".", "\\.") + "$");
        options.param("peer", peer);
        options.forks(1);
        options.jvm(java.toString());
        options.jvmArgs(flags().toArray(new String[0]));
        options.verbosity(VerboseMode.SILENT);
        options.shouldFailOnError(true);
        return options;
    }

    private static List<IterationResult> run(Options options) throws RunnerException {
        Collection<RunResult> results = new Runner(options).run();
        List<IterationResult> iterations = new ArrayList<>();
        for (RunResult result : results) {
            for (BenchmarkResult fork : result.getBenchmarkResults()) {
                iterations.addAll(fork.getIterationResults());
            }
        }
        if (iterations.isEmpty()) {
            throw new RunnerException("no benchmark matched");
        }
        return iterations;
    }

    private String[] command(Class<?> main, String... arguments) {
        List<String> command = new ArrayList<>(List.of(java.toString()));
        command.addAll(flags());
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(arguments));
        return command.toArray(new String[0]);
    }

    /** G1, as Flink runs: on one core a JVM would choose another collector by itself. */
    private List<String> flags() {
        List<String> flags = new ArrayList<>(List.of(
                "-Xms1g",
                "-Xmx1g",
                "-XX:+UseG1GC",
                "-D" + SealpointPeer.KEYRING + "=" + System.getProperty(SealpointPeer.KEYRING),
                "-D" + SealpointPeer.ARRAYS + "=" + System.getProperty(SealpointPeer.ARRAYS, "auto")));
        if (feature >= 22) {
            flags.add("--enable-native-access=ALL-UNNAMED");
        }
        if (feature >= 24) {
            flags.add("--sun-misc-unsafe-memory-access=allow");
        }
        return flags;
    }
}
