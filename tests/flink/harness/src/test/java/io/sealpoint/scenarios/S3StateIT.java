package io.sealpoint.scenarios;

import static java.util.stream.Collectors.toSet;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.Job.Format;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.ObjectStore;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Storage;
import io.sealpoint.keyservice.KeyringFile;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/**
 * State in S3 through Flink's own S3 file system, {@code flink-s3-fs-hadoop}, on MinIO: a key version ends under a running job, and what
 * lies beside the files is in nobody's way.
 */
class S3StateIT {

    private static final Distribution FLINK = Distribution.FLINK_2_3;

    /** Keeps every file that it ever wrote, so that its checkpoints need those of the first version for good. */
    private static final JobSpec JOB = JobSpec.of(1000, 100)
            .with("state.backend.type", "rocksdb")
            .with("state.backend.rocksdb.compaction.style", "FIFO")
            .with("execution.checkpointing.incremental", "true")
            .with("execution.checkpointing.interval", "300 ms")
            .allInFiles();

    private static final int PACE = 200;

    private final Product product = Product.required();
    private Path workDir;
    private KeyringFile keys;
    private ObjectStore store;
    private Storage local;

    @BeforeEach
    void start() throws Exception {
        workDir = WorkDir.fresh(S3StateIT.class, FLINK, "state");
        keys = new KeyringFile(product, workDir.resolve("keys").resolve("keyring"));
        local = Storage.sealed(workDir.resolve("storage"), product, keys);
        store = ObjectStore.start(workDir.resolve("minio"));
    }

    @AfterEach
    void stop() {
        store.close();
    }

    @Test
    void a_key_version_ends_under_a_running_job_and_nothing_is_left_of_what_flink_deletes() throws Exception {
        String savepoint;
        String checkpoint;
        try (Cluster cluster = cluster("first")) {
            Job job = cluster.submit(JOB).awaitRunning().pass(500).pace(PACE);
            job.awaitCheckpoints(3);
            savepoint = job.savepoint(Format.CANONICAL);
            keys.rotate();
            job.awaitCheckpoints(3);
            checkpoint = killed(cluster, job);
        }
        try (Cluster cluster = cluster("second")) {
            Job job = cluster.submit(JOB.restoredFrom(checkpoint, Claim.CLAIM)).awaitRunning().pace(PACE);
            job.awaitCheckpoints(2);
            assertEquals(3, needsFirstVersion(), "before the rewrap the job needs it");
            ended(0, "rewrap", store.uri(""));
            Set<String> earlier = store.keys().stream().filter(key -> key.contains(job.id() + "/chk-")).map(S3StateIT::parent).collect(toSet());
            assertTrue(store.keys().stream().anyMatch(key -> key.equals(folder(savepoint) + "/.sealpoint-keys")), "beside the savepoint's files");

            job.awaitCheckpoints(5);
            store.awaitGone(earlier);
            cluster.disposeOf(savepoint);
            store.awaitGone(Set.of(folder(savepoint)));
            checkpoint = killed(cluster, job);
        }
        assertEquals(0, needsFirstVersion(), "nobody needs it any more");
        keys.disableFirst();
        ended(0, "verify", checkpoint);
        ended(0, "preflight", "--savepoint", checkpoint);
        try (Cluster cluster = cluster("third")) {
            cluster.submit(JOB.restoredFrom(checkpoint, Claim.NO_CLAIM)).finishAndCheck();
            assertEquals(List.of(), cluster.faults());
        }
    }

    private Cluster cluster(String name) throws Exception {
        ClusterSpec spec = ClusterSpec.of(FLINK, local)
                .shortLived()
                .checkJni()
                .withPlugins()
                .taskManagers(1)
                .set("execution.checkpointing.dir", "sealed+" + store.uri("flink"))
                .set("execution.checkpointing.savepoint-dir", "sealed+" + store.uri("savepoints"))
                .set("execution.checkpointing.timeout", "10 min")
                .set("heartbeat.timeout", "60000");
        store.flinkSettings().forEach(spec::set);
        return Cluster.start(spec, workDir.resolve("cluster-" + name));
    }

    /** The whole cluster, without a word to it. @return what the job completed last: an object is there whole or not at all */
    private String killed(Cluster cluster, Job job) throws Exception {
        assertEquals(List.of(), cluster.faults());
        cluster.close();
        String newest = store.keys().stream()
                .filter(key -> key.contains(job.id() + "/chk-") && key.endsWith("/_metadata"))
                .map(S3StateIT::parent)
                .max(Comparator.comparingInt(S3StateIT::number))
                .orElseThrow();
        return "sealed+" + store.uri(newest);
    }

    /** 3 that somebody does, 0 that nobody does. */
    private int needsFirstVersion() throws Exception {
        return tool("report", "--needs", "sealpoint@1", store.uri("")).status();
    }

    private void ended(int status, String command, String... arguments) throws Exception {
        Product.Answer answer = tool(command, arguments);
        assertEquals(status, answer.status(), answer.said());
    }

    private Product.Answer tool(String command, String... arguments) throws Exception {
        List<String> words = new ArrayList<>(List.of(command, "--config", local.toml().toString()));
        words.addAll(List.of(arguments));
        return product.ask(store.environment(), words.toArray(String[]::new));
    }

    /** The key of what a URI names. */
    private String folder(String uri) {
        return uri.substring(("sealed+" + store.uri("")).length());
    }

    private static String parent(String key) {
        return key.substring(0, key.lastIndexOf('/'));
    }

    private static int number(String checkpoint) {
        return Integer.parseInt(checkpoint.substring(checkpoint.lastIndexOf("chk-") + "chk-".length()));
    }
}
