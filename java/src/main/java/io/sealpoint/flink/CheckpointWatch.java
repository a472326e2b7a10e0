package io.sealpoint.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.Path;
import org.apache.flink.metrics.Gauge;
import org.apache.flink.metrics.Metric;
import org.apache.flink.metrics.MetricConfig;
import org.apache.flink.metrics.MetricGroup;
import org.apache.flink.metrics.reporter.MetricReporter;
import org.apache.flink.metrics.reporter.MetricReporterFactory;
import org.apache.flink.metrics.reporter.Scheduled;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.util.Map;
import java.util.Properties;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Names the jobs that checkpoint in clear on a cluster that seals. A job's own configuration, or a legacy state backend in its code, wins over
 * the cluster's storage class, and then nothing of ours is asked. But the JobManager publishes where each job's last checkpoint lies,
 * and this looks there: a metric reporter is the one way into a process that Flink offers to a jar without changing the job.
 */
public final class CheckpointWatch implements MetricReporter, Scheduled {
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointWatch.class);

    private static final String NAME = "sealpoint";
    private static final String REPORTERS = "metrics.reporters";
    private static final String FACTORY_CLASS = "metrics.reporter." + NAME + ".factory.class";
    private static final String LAST_CHECKPOINT = "lastCheckpointExternalPath";

    /** The gauges of the jobs that run, each with a description of its job. */
    private final Map<Gauge<?>, String> jobs = new ConcurrentHashMap<>();

    CheckpointWatch() {}

    /**
     * Adds the reporter to a process's configuration, which Flink reads after it has set up its file systems. Other reporters stay as they are.
     */
    static void install(Configuration configuration) {
        Map<String, String> options = configuration.toMap();
        if (options.containsKey(FACTORY_CLASS)) {
            return;
        }
        try {
            configuration.setString(FACTORY_CLASS, Factory.class.getName());
            String named = options.getOrDefault(REPORTERS, "");
            if (!named.isBlank()) {
                configuration.setString(REPORTERS, named + "," + NAME);
            }
        } catch (UnsupportedOperationException unmodifiable) {
            LOG.warn("Sealpoint: cannot watch where jobs put their checkpoints; set {}: {}", FACTORY_CLASS, Factory.class.getName());
        }
    }

    @Override
    public void notifyOfAddedMetric(Metric metric, String name, MetricGroup group) {
        if (name.equals(LAST_CHECKPOINT) && metric instanceof Gauge) {
            Map<String, String> variables = group.getAllVariables();
            jobs.put((Gauge<?>) metric, "'" + variables.get("<job_name>") + "' (" + variables.get("<job_id>") + ")");
        }
    }

    @Override
    public void notifyOfRemovedMetric(Metric metric, String name, MetricGroup group) {
        if (metric instanceof Gauge) {
            look((Gauge<?>) metric, jobs.remove(metric));
        }
    }

    @Override
    public void report() {
        jobs.forEach(this::look);
    }

    @Override
    public void open(MetricConfig config) {}

    @Override
    public void close() {
        report();
    }

    private void look(Gauge<?> lastCheckpoint, String job) {
        Object value = job == null ? null : lastCheckpoint.getValue();
        if (value != null && isInClear(value.toString())) {
            LOG.warn(
                    "Sealpoint: job {} CHECKPOINTS IN CLEAR, last to {}. Its own configuration or code (checkpoint storage, state backend)"
                            + " overrides the cluster's: remove that, or name {} and a {} directory there",
                    job,
                    value,
                    EncryptedCheckpointStorageFactory.class.getName(),
                    SealedPaths.PREFIX + "...");
            jobs.remove(lastCheckpoint); // said once a job
        }
    }

    /** Values such as "n/a" have no scheme: there is no checkpoint yet. */
    private static boolean isInClear(String pointer) {
        return pointer.contains(":") && !SealedPaths.isSealed(new Path(pointer));
    }

    /** Found by Flink through META-INF/services. */
    public static final class Factory implements MetricReporterFactory {
        @Override
        public MetricReporter createMetricReporter(Properties properties) {
            return new CheckpointWatch();
        }
    }
}
