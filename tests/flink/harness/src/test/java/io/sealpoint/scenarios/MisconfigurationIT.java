package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Scan;
import io.sealpoint.harness.Storage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Ways to believe that state is sealed when it is not: each is refused, or said aloud, or harmless. */
@ParameterizedClass(name = "{0}")
@MethodSource("io.sealpoint.harness.Distribution#all")
class MisconfigurationIT {

    private static final String REQUIRE_SEALED = "sealpoint.require-sealed";
    private static final JobSpec JOB = JobSpec.of(2000, 15)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true");

    @Parameter
    Distribution flink;

    private Path workDir;
    private Storage storage;
    private Path plainDirectory;

    @BeforeEach
    void prepare(TestInfo test) throws Exception {
        String name = test.getTestMethod().orElseThrow().getName() + "-" + Math.abs(test.getDisplayName().hashCode());
        workDir = WorkDir.fresh(MisconfigurationIT.class, flink, name);
        storage = Storage.sealed(workDir.resolve("storage"), Product.required());
        plainDirectory = Files.createDirectories(workDir.resolve("in-clear"));
    }

    @ParameterizedTest
    @CsvSource({
        "high-availability.storageDir, zookeeper",
        "dstl.dfs.base-path, NONE",
        "job-result-store.storage-path, NONE",
        "jobmanager.archive.fs.dir, NONE"
    })
    void a_plain_directory_stops_a_cluster_that_requires_sealing(String option, String highAvailability) throws Exception {
        ClusterSpec spec = plainDirectory(sealed(), option, highAvailability).taskManagers(0);
        try (Cluster cluster = Cluster.launch(spec, workDir.resolve("cluster"))) {
            cluster.awaitJobManagerExit();
            cluster.awaitLogLine(REQUIRE_SEALED + " is true", option + ": " + plainUri());
        }
    }

    @ParameterizedTest
    @CsvSource({
        "high-availability.storageDir, zookeeper",
        "dstl.dfs.base-path, NONE",
    })
    void a_plain_directory_is_warned_about_by_a_cluster_that_does_not(String option, String highAvailability) throws Exception {
        ClusterSpec spec = plainDirectory(sealed().unset(REQUIRE_SEALED), option, highAvailability).taskManagers(0);
        try (Cluster cluster = Cluster.launch(spec, workDir.resolve("cluster"))) {
            cluster.awaitLogLine("WARN", "Sealpoint", option + ": " + plainUri());
        }
    }

    @Test
    void a_plain_changelog_directory_on_task_managers_stops_them() throws Exception {
        ClusterSpec spec = sealed().setOnTaskManagers("dstl.dfs.base-path", plainUri()).taskManagers(1);
        try (Cluster cluster = Cluster.launch(spec, workDir.resolve("cluster"))) {
            cluster.awaitTaskManagerExit(0);
            cluster.awaitLogLine(REQUIRE_SEALED + " is true", "dstl.dfs.base-path: " + plainUri());
        }
    }

    @Test
    void no_checkpoint_completes_over_a_plain_changelog() throws Exception {
        ClusterSpec spec = sealed().unset(REQUIRE_SEALED).set("dstl.dfs.base-path", plainUri());
        try (Cluster cluster = Cluster.start(spec, workDir.resolve("cluster"))) {
            Job job = cluster.submit(JOB.with("state.changelog.enabled", "true")).pace(2000);
            cluster.awaitLogLine("Sealpoint refuses checkpoint", plainDirectory.toString());
            assertEquals(0, job.completedCheckpoints());
        }
    }

    /** The worst of them: the JobManager reports a sealed path while the TaskManagers, left to themselves, write beside it in clear. */
    @Test
    void no_checkpoint_completes_in_clear_where_only_the_job_manager_is_configured() throws Exception {
        String checkpointDir = flink.isFlink2() ? "execution.checkpointing.dir" : "state.checkpoints.dir";
        String storageClass = flink.isFlink2() ? "execution.checkpointing.storage" : "state.checkpoint-storage";
        ClusterSpec spec = sealed().unset(REQUIRE_SEALED).set(checkpointDir, plainUri()).unsetOnTaskManagers(storageClass);
        try (Cluster cluster = Cluster.start(spec, workDir.resolve("cluster"))) {
            Job job = cluster.submitFromClient(
                            JOB, Map.of(checkpointDir, plainUri(), "execution.checkpointing.interval", "1 s"))
                    .pace(2000);
            cluster.awaitLogLine("Sealpoint refuses checkpoint", plainDirectory.toString());
            assertEquals(0, job.completedCheckpoints());
        }
    }

    @Test
    void a_job_that_asks_for_the_filesystem_storage_is_sealed_by_its_directory() throws Exception {
        try (Cluster cluster = Cluster.start(sealed(), workDir.resolve("cluster"))) {
            Job job = cluster.submit(JOB.with("execution.checkpointing.storage", "filesystem")).awaitRunning().pace(2000);
            job.awaitOrders(1000).pace(0).awaitCheckpoints(1);
            assertSealed(Scan.of(storage.root()));
        }
    }

    @Test
    void a_savepoint_asked_for_in_a_plain_directory_is_sealed_all_the_same() throws Exception {
        try (Cluster cluster = Cluster.start(sealed(), workDir.resolve("cluster"))) {
            Job job = cluster.submit(JOB).awaitRunning().pace(2000).awaitOrders(1000).pace(0);
            String savepoint = job.savepoint(Job.Format.CANONICAL, plainUri());
            assertSealed(Scan.of(plainDirectory));
            job.abandon();
            cluster.submit(JOB.restoredFrom(savepoint, Claim.NO_CLAIM)).finishAndCheck();
        }
    }

    @Test
    void a_plaintext_checkpoint_is_restored_but_not_built_upon() throws Exception {
        String retained = plaintextCheckpoint();
        try (Cluster cluster = Cluster.start(sealed(), workDir.resolve("cluster"))) {
            Job claiming = cluster.submit(JOB.restoredFrom(retained, Claim.CLAIM)).awaitRunning().pace(500);
            cluster.awaitLogLine("Sealpoint refuses checkpoint", retained.substring(retained.indexOf(':') + 1, retained.indexOf("/chk-")));
            assertEquals(0, claiming.completedCheckpoints());
            claiming.abandon();

            Job moving = cluster.submit(JOB.restoredFrom(retained, Claim.NO_CLAIM)).awaitRunning().pace(500);
            moving.awaitCheckpoints(1);
            assertSealed(Scan.of(storage.checkpoints()));
            moving.finishAndCheck();
        }
    }

    /** A legacy backend's own storage wins over the configured one, and its directory is the job's business, not the cluster's. */
    @Test
    void a_legacy_state_backend_in_a_jobs_code_is_loud() throws Exception {
        assumeFalse(flink.isFlink2(), "Flink 2 has no legacy state backends");
        try (Cluster cluster = Cluster.start(sealed(), workDir.resolve("cluster"))) {
            cluster.submit(JOB.argument("--legacy-backend", plainUri())).pace(2000);
            cluster.awaitLogLine("Sealpoint", plainDirectory.toString());
        }
    }

    @Test
    void a_job_that_asks_for_the_filesystem_storage_in_a_plain_directory_is_loud() throws Exception {
        try (Cluster cluster = Cluster.start(sealed(), workDir.resolve("cluster"))) {
            cluster.submit(JOB
                            .with("execution.checkpointing.storage", "filesystem")
                            .with("execution.checkpointing.dir", plainUri()))
                    .pace(2000);
            cluster.awaitLogLine("Sealpoint", plainDirectory.toString());
        }
    }

    private String plaintextCheckpoint() throws Exception {
        Storage plain = Storage.plain(workDir.resolve("plain"));
        try (Cluster cluster = Cluster.start(ClusterSpec.of(flink, plain).shortLived(), workDir.resolve("cluster-plain"))) {
            Job job = cluster.submit(JOB).awaitRunning().pace(2000).awaitOrders(4000).pace(0);
            job.awaitCheckpoints(1);
            return job.cancel();
        }
    }

    private ClusterSpec sealed() {
        return ClusterSpec.of(flink, storage).shortLived();
    }

    private ClusterSpec plainDirectory(ClusterSpec spec, String option, String highAvailability) {
        // ZooKeeper is not there and need not be: directories are looked at before anything is connected to.
        return spec.set(option, plainUri()).set("high-availability.type", highAvailability)
                .set("high-availability.zookeeper.quorum", "127.0.0.1:1");
    }

    private String plainUri() {
        return "file://" + plainDirectory;
    }

    private static void assertSealed(Scan scan) {
        assertTrue(scan.sealed() > 0, "sealed files: " + scan);
        assertEquals(List.of(), scan.withMarker(), "files with personal data in clear");
        assertEquals(List.of(), scan.unsealed(), "files that are not sealed");
    }
}
