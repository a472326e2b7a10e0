package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Storage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Clusters that look as if they sealed and would not: they do not start, or say so, or complete no checkpoint. */
@ParameterizedClass(name = "{0}")
@MethodSource("io.sealpoint.harness.Distribution#all")
class MisconfiguredClusterIT {

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
        workDir = WorkDir.fresh(MisconfiguredClusterIT.class, flink, name);
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
            // Not before there is something in the changelog.
            JobSpec rare = JOB.with("state.changelog.enabled", "true").with("execution.checkpointing.interval", "1 h");
            Job job = cluster.submit(rare).awaitRunning().pass(200);
            // Flink answers as if it were well: it is at its end that a checkpoint is refused.
            job.checkpoint();
            cluster.awaitLogLine("Sealpoint refuses checkpoint", plainDirectory.toString());
            assertEquals(0, job.completedCheckpoints());
        }
    }

    /** The worst of them: the JobManager reports a sealed path while the TaskManagers, left to themselves, write beside it in clear. */
    @Test
    void no_checkpoint_completes_where_only_the_job_manager_knows_the_storage_class() throws Exception {
        String storageClass = flink.isFlink2() ? "execution.checkpointing.storage" : "state.checkpoint-storage";
        String checkpointDir = flink.isFlink2() ? "execution.checkpointing.dir" : "state.checkpoints.dir";
        ClusterSpec spec = sealed().unset(REQUIRE_SEALED).set(checkpointDir, plainUri()).unsetOnTaskManagers(storageClass);
        try (Cluster cluster = Cluster.start(spec, workDir.resolve("cluster"))) {
            Job job = cluster.submitFromClient(JOB, Map.of("execution.checkpointing.interval", "1 s")).pace(2000);
            cluster.awaitLogLine("Sealpoint refuses checkpoint", plainDirectory.toString());
            assertEquals(0, job.completedCheckpoints());
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
}
