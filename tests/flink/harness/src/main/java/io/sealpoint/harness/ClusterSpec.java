package io.sealpoint.harness;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What a cluster is made of. JobManager and TaskManagers are told separately, since being told different things is a fault we test. */
public final class ClusterSpec {

    final Distribution flink;
    final Map<String, String> jobManagerSettings = new LinkedHashMap<>();
    final Map<String, String> taskManagerSettings = new LinkedHashMap<>();
    final List<Path> jars = new ArrayList<>();
    final Map<String, String> environment = new LinkedHashMap<>();
    final List<String> jobManagerFlags = new ArrayList<>(List.of("-Xmx400m"));
    final List<String> taskManagerFlags = new ArrayList<>(List.of("-Xmx640m", "-XX:MaxDirectMemorySize=320m"));
    int taskManagers = 2;

    private ClusterSpec(Distribution flink) {
        this.flink = flink;
    }

    /** Two TaskManagers of two slots, on loopback, with this storage. */
    public static ClusterSpec of(Distribution flink, Storage storage) {
        ClusterSpec spec = new ClusterSpec(flink);
        spec.jars.addAll(storage.jars());
        spec.environment.putAll(storage.environment());
        storage.settings(flink).forEach(spec::set);
        defaults(flink).forEach(spec::set);
        return spec;
    }

    /** Everywhere. */
    public ClusterSpec set(String key, String value) {
        jobManagerSettings.put(key, value);
        taskManagerSettings.put(key, value);
        return this;
    }

    public ClusterSpec unset(String key) {
        jobManagerSettings.remove(key);
        taskManagerSettings.remove(key);
        return this;
    }

    public ClusterSpec setOnTaskManagers(String key, String value) {
        taskManagerSettings.put(key, value);
        return this;
    }

    public ClusterSpec unsetOnTaskManagers(String key) {
        taskManagerSettings.remove(key);
        return this;
    }

    public ClusterSpec taskManagers(int count) {
        taskManagers = count;
        return this;
    }

    /** With the file systems that Flink loads as plugins; {@link Distribution#plugins()} has them. */
    public ClusterSpec withPlugins() {
        environment.put("FLINK_PLUGINS_DIR", flink.plugins().toString());
        return this;
    }

    /** Every JVM looks for misuse of JNI; see {@link Cluster#faults()}. */
    public ClusterSpec checkJni() {
        jobManagerFlags.add("-Xcheck:jni");
        taskManagerFlags.add("-Xcheck:jni");
        return this;
    }

    /** The JVMs live for a minute: code that is compiled quickly beats code that is compiled well. */
    public ClusterSpec shortLived() {
        jobManagerFlags.add("-XX:TieredStopAtLevel=1");
        taskManagerFlags.add("-XX:TieredStopAtLevel=1");
        return this;
    }

    private static Map<String, String> defaults(Distribution flink) {
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("jobmanager.bind-host", "127.0.0.1");
        settings.put("taskmanager.host", "127.0.0.1");
        settings.put("taskmanager.bind-host", "127.0.0.1");
        settings.put("rest.bind-address", "127.0.0.1");

        // Flink's start scripts would compute these; the class that we start asks for them.
        settings.put("taskmanager.cpu.cores", "2.0");
        settings.put("taskmanager.memory.framework.heap.size", "64m");
        settings.put("taskmanager.memory.framework.off-heap.size", "64m");
        settings.put("taskmanager.memory.jvm-metaspace.size", "192m");
        settings.put("taskmanager.memory.jvm-overhead.min", "64m");
        settings.put("taskmanager.memory.jvm-overhead.max", "64m");
        settings.put("taskmanager.memory.task.heap.size", "400m");
        settings.put("taskmanager.memory.task.off-heap.size", "64m");
        settings.put("taskmanager.memory.network.min", "64m");
        settings.put("taskmanager.memory.network.max", "64m");
        settings.put("taskmanager.memory.managed.size", "96m");
        settings.put("taskmanager.numberOfTaskSlots", "2");
        if (flink.isFlink2()) {
            settings.put("taskmanager.load-balance.mode", "SLOTS");
        } else {
            settings.put("cluster.evenly-spread-out-slots", "true");
        }

        // How stale an answer over REST may be.
        settings.put("web.refresh-interval", "100");
        settings.put("metrics.fetcher.update-interval", "200");

        // Ten seconds by default, which a machine with much else to do exceeds (and so does the start of a process: see FlinkProcess).
        settings.put("pekko.ask.timeout", "2 min");
        // A process that is gone is noticed by the second heartbeat that cannot be sent; one that is slow is not gone.
        settings.put("heartbeat.interval", "1000");
        settings.put("heartbeat.timeout", "60000");
        settings.put("restart-strategy.type", "fixed-delay");
        settings.put("restart-strategy.fixed-delay.attempts", "20");
        settings.put("restart-strategy.fixed-delay.delay", "500 ms");
        settings.put("pipeline.max-parallelism", "64");
        settings.put("pipeline.generic-types", "false");
        settings.put("execution.checkpointing.interval", "1 s");
        settings.put("execution.checkpointing.min-pause", "300 ms");
        settings.put("execution.checkpointing.timeout", "4 min");
        settings.put("execution.checkpointing.externalized-checkpoint-retention", "RETAIN_ON_CANCELLATION");
        // For jobs that ask for a changelog; the default keeps it in memory.
        settings.put("state.changelog.storage", "filesystem");
        // A plaintext scan must be able to see what is there: no compression hides it.
        settings.put("state.backend.rocksdb.compression.per.level", "NO_COMPRESSION");
        return settings;
    }
}
