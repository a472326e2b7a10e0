package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.SealedHeads;
import io.sealpoint.harness.Storage;
import io.sealpoint.keyservice.KeyringFile;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Keys that have come of age when a job starts. The JobManager looks after them, and nobody else. */
class RotationIT {

    private static final JobSpec JOB = JobSpec.of(2000, 100);
    private static final int PACE = 600;
    private static final String ROTATED = "rotated from version";

    @ParameterizedTest
    @MethodSource("io.sealpoint.harness.Distribution#all")
    void the_job_manager_rotates_a_key_that_is_due_and_the_job_goes_on_under_the_new_version(Distribution flink) throws Exception {
        Path workDir = WorkDir.fresh(RotationIT.class, flink, "due");
        try (Cluster cluster = start(flink, workDir, Duration.ofDays(31), "true")) {
            Job job = cluster.submit(JOB).awaitRunning().pace(PACE);
            // Flink counts those that it would begin before every task runs as failed.
            job.awaitCheckpoints(1);
            int failed = job.failedCheckpoints();
            cluster.awaitLogLine(ROTATED + " 1 to 2");
            // Each process has drawn its next data key ahead; the first of these may be without the change altogether.
            job.awaitCheckpoints(4);
            // Before the job is cancelled: one that is under way then has failed as well.
            assertEquals(failed, job.failedCheckpoints());
            String checkpoint = job.cancel();
            assertEquals(Set.of("2"), SealedHeads.versions(Product.required(), Storage.path(checkpoint)));
            assertEquals(1, cluster.logLines().filter(line -> line.contains(ROTATED)).count(), "once, by one process");

            cluster.submit(JOB.restoredFrom(checkpoint, Claim.NO_CLAIM)).awaitRunning().finishAndCheck();
            assertEquals(List.of(), cluster.faults());
        }
    }

    @ParameterizedTest
    @MethodSource("io.sealpoint.harness.Distribution#all")
    void past_its_maximum_age_a_key_that_may_not_be_rotated_declines_checkpoints_until_it_is(Distribution flink) throws Exception {
        Path workDir = WorkDir.fresh(RotationIT.class, flink, "too-old");
        try (Cluster cluster = start(flink, workDir, Duration.ofDays(91), "false")) {
            Job job = cluster.submit(JOB).awaitRunning().pace(PACE);
            job.awaitFailedCheckpoints(2);
            cluster.awaitLogLine("which is older than key-rotation.max-age-days (90) allows", "auto-rotate is false");
            Product.required().run("keyring", "rotate", keyring(workDir).toString());
            job.awaitCheckpoints(3);
            assertEquals(0, job.restores(), "the job ran all the time");
            String checkpoint = job.cancel();
            assertEquals(Set.of("2"), SealedHeads.versions(Product.required(), Storage.path(checkpoint)));
            assertEquals(List.of(), cluster.faults());
        }
    }

    private static Cluster start(Distribution flink, Path workDir, Duration age, String autoRotate) throws Exception {
        KeyringFile keys = KeyringFile.aged(Product.required(), keyring(workDir), age);
        Storage storage = Storage.sealed(workDir.resolve("storage"), Product.required(), keys);
        ClusterSpec spec = ClusterSpec.of(flink, storage)
                .shortLived()
                .checkJni()
                .set("sealpoint.key-rotation.auto-rotate", autoRotate)
                .set("execution.checkpointing.tolerable-failed-checkpoints", "1000")
                // Nobody is killed here: a slow machine must not look like a dead process.
                .set("heartbeat.timeout", "60000");
        return Cluster.start(spec, workDir.resolve("cluster"));
    }

    private static Path keyring(Path workDir) {
        return workDir.resolve("keys").resolve("keyring");
    }
}
