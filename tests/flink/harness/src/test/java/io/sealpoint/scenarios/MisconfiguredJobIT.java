package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Folders;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Scan;
import io.sealpoint.harness.Storage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Jobs that would get around a cluster that seals, by what they are configured with, restored from or made of: they are sealed all the
 * same, or complete no checkpoint, or are named in the JobManager's log.
 */
@ParameterizedClass(name = "{0}")
@MethodSource("io.sealpoint.harness.Distribution#all")
class MisconfiguredJobIT {

    private static final JobSpec JOB = JobSpec.of(2000, 15)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true");

    private static Path workDir;
    private static Storage storage;
    private static Cluster cluster;

    @Parameter
    Distribution flink;

    private final List<Job> jobs = new ArrayList<>();
    private Path plainDirectory;

    @BeforeParameterizedClassInvocation
    static void start(Distribution flink) throws Exception {
        workDir = WorkDir.fresh(MisconfiguredJobIT.class, flink, "");
        storage = Storage.sealed(workDir.resolve("storage"), Product.required());
        cluster = Cluster.start(ClusterSpec.of(flink, storage).shortLived(), workDir.resolve("cluster"));
    }

    @AfterParameterizedClassInvocation
    static void stop() {
        cluster.close();
    }

    @BeforeEach
    void clear(TestInfo test) throws Exception {
        storage.clear();
        plainDirectory = Files.createDirectories(workDir.resolve("in-clear-" + test.getTestMethod().orElseThrow().getName()));
    }

    @AfterEach
    void endJobs() throws Exception {
        for (Job job : jobs) {
            job.abandon();
        }
        Folders.clear(plainDirectory);
    }

    @Test
    void one_that_asks_for_the_filesystem_storage_is_sealed_by_the_clusters_directory() throws Exception {
        Job job = submit(JOB.with("execution.checkpointing.storage", "filesystem"));
        job.awaitRunning().pass(1000).awaitCheckpoints(1);
        assertSealed(Scan.of(storage.root()));
    }

    @Test
    void one_that_asks_for_the_filesystem_storage_and_a_plain_directory_is_named() throws Exception {
        submit(JOB.with("execution.checkpointing.storage", "filesystem").with("execution.checkpointing.dir", plainUri())).pace(200);
        awaitNamed();
    }

    @Test
    void one_that_asks_for_a_plain_directory_only_is_sealed_there() throws Exception {
        Job job = submit(JOB.with("execution.checkpointing.dir", plainUri()));
        job.awaitRunning().pass(1000).awaitCheckpoints(1);
        assertSealed(Scan.of(plainDirectory));
    }

    /** Flink 1 turns the client's directory into a storage of the job's own, which wins; Flink 2 leaves it a mere directory. */
    @Test
    void one_from_a_client_with_a_plain_directory_of_its_own_is_sealed_or_named() throws Exception {
        String checkpointDir = flink.isFlink2() ? "execution.checkpointing.dir" : "state.checkpoints.dir";
        Job job = cluster.submitFromClient(JOB, Map.of(checkpointDir, plainUri(), "execution.checkpointing.interval", "1 s"));
        jobs.add(job);
        job.awaitRunning().pace(200);
        if (flink.isFlink2()) {
            job.awaitCheckpoints(1);
            assertSealed(Scan.of(plainDirectory));
        } else {
            awaitNamed();
        }
    }

    /** A legacy backend brings its own storage, which wins over the configured one. */
    @Test
    void one_with_a_legacy_state_backend_in_its_code_is_named() throws Exception {
        assumeFalse(flink.isFlink2(), "Flink 2 has no legacy state backends");
        submit(JOB.argument("--legacy-backend", plainUri())).pace(200);
        awaitNamed();
    }

    @Test
    void a_savepoint_asked_for_in_a_plain_directory_is_sealed_all_the_same() throws Exception {
        Job job = submit(JOB).awaitRunning().pass(1000);
        String savepoint = job.savepoint(Job.Format.CANONICAL, plainUri());
        assertSealed(Scan.of(plainDirectory));
        job.abandon();
        submit(JOB.restoredFrom(savepoint, Claim.NO_CLAIM)).finishAndCheck();
    }

    @Test
    void a_sealed_savepoint_is_found_under_its_plain_name_too() throws Exception {
        Job job = submit(JOB).awaitRunning().pass(1000);
        Path savepoint = Storage.path(job.stop(Job.Format.CANONICAL));
        submit(JOB.restoredFrom("file://" + savepoint, Claim.NO_CLAIM)).finishAndCheck();
    }

    @Test
    void a_plaintext_checkpoint_is_restored_where_a_job_asks_for_it_but_not_built_upon() throws Exception {
        Path plain = plainDirectory;
        String retained = plaintextCheckpoint(plain);

        Exception refusal = assertThrows(Exception.class, () -> submit(JOB.restoredFrom(retained, Claim.NO_CLAIM)));
        assertTrue(refusal.getMessage().contains(plain + "/"), refusal.getMessage());
        assertTrue(refusal.getMessage().contains("is not sealed, and sealpoint.require-sealed is true"), refusal.getMessage());

        JobSpec asking = JOB.with("sealpoint.restore-plaintext", "true");
        Job claiming = submit(asking.restoredFrom(retained, Claim.CLAIM)).awaitRunning().pace(200);
        cluster.awaitLogLine("Sealpoint refuses checkpoint", plain.toString());
        assertEquals(0, claiming.completedCheckpoints());
        claiming.abandon();

        Job moving = submit(asking.restoredFrom(retained, Claim.NO_CLAIM)).awaitRunning().pace(200);
        moving.awaitCheckpoints(1);
        assertSealed(Scan.of(storage.root()));
        moving.finishAndCheck();
    }

    /** From before Sealpoint was there. One file a task, too few for RocksDB to compact, so that a claiming job would go on to use it. */
    private String plaintextCheckpoint(Path folder) throws Exception {
        ClusterSpec before = ClusterSpec.of(flink, Storage.plain(folder)).shortLived().taskManagers(1);
        try (Cluster unsealed = Cluster.start(before, workDir.resolve("cluster-before"))) {
            Job job = unsealed.submit(JOB.with("execution.checkpointing.interval", "1 h")).awaitRunning();
            job.pass(4000).checkpoint();
            String checkpoint = job.cancel();
            assertTrue(!Scan.of(folder).withMarker().isEmpty(), "a plaintext checkpoint in " + folder);
            return checkpoint;
        }
    }

    private Job submit(JobSpec spec) throws Exception {
        Job job = cluster.submit(spec);
        jobs.add(job);
        return job;
    }

    private void awaitNamed() throws Exception {
        String line = cluster.awaitLogLine("Sealpoint", "CHECKPOINTS IN CLEAR", plainDirectory.toString());
        assertTrue(line.contains(jobs.get(0).id()), line);
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
