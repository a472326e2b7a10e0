package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Folders;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.Job.Format;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Scan;
import io.sealpoint.harness.Storage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every way in which Flink writes and reads state, on a real cluster of each version. Each scenario ends with a job that has
 * compared all its state with what it must be; after each, the storage is scanned. The subclasses say which storage it is, and
 * so what the scan must find.
 */
@ParameterizedClass(name = "{0}")
@MethodSource("io.sealpoint.harness.Distribution#all")
abstract class StateScenarios {

    /** Held and released in between, so that a scenario never depends on how fast the machine is. */
    private static final JobSpec JOB = JobSpec.of(2000, 15);

    /** Twice unless asked otherwise: {@code make soak} takes more. */
    private static final int KILLS = Integer.getInteger("kills", 2);

    static final JobSpec ROCKSDB_INCREMENTAL = rocksDb("true");
    private static final JobSpec ROCKSDB_FULL = rocksDb("false");
    static final JobSpec CHANGELOG = ROCKSDB_INCREMENTAL
            .with("state.changelog.enabled", "true")
            .with("state.changelog.periodic-materialize.interval", "3 s");
    static final JobSpec HASH_MAP = JOB.with("state.backend.type", "hashmap");

    /** The cluster outlives a scenario, since starting one costs more than most scenarios. */
    private static Cluster cluster;

    static Storage storage;

    @Parameter
    Distribution flink;

    private final List<Job> jobs = new ArrayList<>();

    /** What a scan must say while a job and its checkpoints are there. */
    abstract void checkStored(Scan scan);

    /** What can be found out about a checkpoint of which this is known: whether its files are where its metadata say. */
    abstract void checkWhole(String checkpoint, boolean whole) throws Exception;

    /** What a scan must say of whatever a scenario left behind, if anything. */
    abstract void checkLeft(Scan scan);

    static void start(Distribution flink, Storage where, Path workDir) throws Exception {
        storage = where;
        cluster = Cluster.start(ClusterSpec.of(flink, storage).shortLived().checkJni(), workDir);
    }

    @AfterParameterizedClassInvocation
    static void stop() {
        if (cluster != null) {
            cluster.close();
        }
        cluster = null;
    }

    @BeforeEach
    void clearStorage() throws IOException {
        storage.clear();
    }

    @AfterEach
    void endJobsAndLookForFaults() throws Exception {
        for (Job job : jobs) {
            job.abandon();
        }
        checkLeft(Scan.of(storage.root()));
        assertEquals(List.of(), cluster.faults());
    }

    @Test
    @Tag("quick")
    void hash_map_checkpoints_are_restored() throws Exception {
        restore(retainedCheckpoint(HASH_MAP), HASH_MAP);
    }

    @Test
    void rocksdb_full_checkpoints_are_restored() throws Exception {
        restore(retainedCheckpoint(ROCKSDB_FULL), ROCKSDB_FULL);
    }

    @Test
    @Tag("quick")
    void rocksdb_incremental_checkpoints_are_restored() throws Exception {
        restore(retainedCheckpoint(ROCKSDB_INCREMENTAL), ROCKSDB_INCREMENTAL);
    }

    @Test
    void unaligned_checkpoints_with_orders_in_flight_are_restored() throws Exception {
        JobSpec unaligned = ROCKSDB_INCREMENTAL
                .with("execution.checkpointing.unaligned.enabled", "true")
                .with("execution.checkpointing.aligned-checkpoint-timeout", "0 ms");
        // Two minutes' work, which is in flight as soon as the source has run.
        Job job = submit(unaligned.workMicros(10_000)).awaitRunning().fullSpeed();
        job.awaitThat("a checkpoint with orders in flight", () ->
                job.checkpointStatistics().get("latest").get("completed").path("persisted_data").asLong() > 10_000);
        scan();
        restore(job.cancel(), unaligned);
    }

    @Test
    void a_canonical_savepoint_is_restored_by_another_state_backend() throws Exception {
        restore(savepointOf(ROCKSDB_INCREMENTAL, Format.CANONICAL), HASH_MAP);
    }

    @Test
    void a_native_savepoint_is_restored() throws Exception {
        restore(savepointOf(ROCKSDB_INCREMENTAL, Format.NATIVE), ROCKSDB_INCREMENTAL);
    }

    @Test
    void a_job_stopped_with_a_savepoint_goes_on_from_it() throws Exception {
        Job job = someWay(ROCKSDB_INCREMENTAL);
        restore(job.stop(Format.CANONICAL), ROCKSDB_INCREMENTAL);
    }

    @Test
    @Tag("quick")
    void state_is_rescaled_up_and_down() throws Exception {
        Job two = someWay(ROCKSDB_INCREMENTAL);
        Job three = submit(ROCKSDB_INCREMENTAL.parallelism(3).restoredFrom(two.stop(Format.NATIVE), Claim.NO_CLAIM));
        three.awaitRunning().pass(500).awaitCheckpoints(1);
        restore(three.cancel(), ROCKSDB_INCREMENTAL.parallelism(1));
    }

    @Test
    void hash_map_state_is_rescaled() throws Exception {
        restore(retainedCheckpoint(HASH_MAP), HASH_MAP.parallelism(3));
    }

    @Test
    void a_checkpoint_restored_with_claim_is_built_upon() throws Exception {
        restoreTwice(retainedCheckpoint(ROCKSDB_INCREMENTAL), ROCKSDB_INCREMENTAL, Claim.CLAIM);
    }

    @Test
    void a_checkpoint_restored_with_no_claim_stays_and_can_be_restored_again() throws Exception {
        String checkpoint = retainedCheckpoint(ROCKSDB_INCREMENTAL);
        restoreTwice(checkpoint, ROCKSDB_INCREMENTAL, Claim.NO_CLAIM);
        restore(checkpoint, ROCKSDB_INCREMENTAL);
    }

    @Test
    void a_canonical_savepoint_restored_with_claim_is_built_upon() throws Exception {
        restoreTwice(savepointOf(ROCKSDB_INCREMENTAL, Format.CANONICAL), ROCKSDB_INCREMENTAL, Claim.CLAIM);
    }

    @Test
    void a_native_savepoint_restored_with_claim_is_built_upon() throws Exception {
        // With another parallelism RocksDB writes all its files anew, and none of the savepoint's is left in what is restored in the end.
        restoreTwice(savepointOf(ROCKSDB_INCREMENTAL, Format.NATIVE), ROCKSDB_INCREMENTAL.parallelism(3), Claim.CLAIM);
    }

    /**
     * FLINK-39964: as long as a checkpoint holds files of a claimed native savepoint, Flink may look for them in the checkpoint's folder,
     * where they are not. The fault is Flink's own, the same in plain storage and in sealed, and the checkpoint's metadata tell: a name
     * with nothing in front of it is looked for in that folder. So the restore is exact, or refused where a file is missing.
     */
    @Test
    void the_first_checkpoint_after_claiming_a_native_savepoint_is_restored_if_its_files_are_where_it_says() throws Exception {
        JobSpec rare = ROCKSDB_INCREMENTAL.with("execution.checkpointing.interval", "1 h").with("restart-strategy.type", "none");
        String savepoint = savepointOf(ROCKSDB_INCREMENTAL, Format.NATIVE);
        List<Path> given = Folders.files(Storage.path(savepoint));
        Job job = submit(rare.restoredFrom(savepoint, Claim.CLAIM)).awaitRunning().pass(500).checkpoint();
        scan();
        String checkpoint = job.cancel();
        String metadata = storage.metadata(checkpoint);
        boolean whole = given.stream()
                .map(file -> file.getFileName().toString())
                .noneMatch(name -> metadata.contains(name) && !metadata.contains("/" + name));
        checkWhole(checkpoint, whole);
        if (whole) {
            restore(checkpoint, rare);
        } else {
            submit(rare.restoredFrom(checkpoint, Claim.NO_CLAIM)).fullSpeed().awaitFailure();
        }
    }

    @Test
    void the_changelog_is_restored() throws Exception {
        // Never materialized, or else the changelog of a job that is held is empty at some time.
        String checkpoint = retainedCheckpoint(CHANGELOG.with("state.changelog.periodic-materialize.interval", "1 h"));
        checkStored(Scan.of(storage.changelog()));
        restore(checkpoint, CHANGELOG, Claim.CLAIM);
    }

    @Test
    void files_merged_within_a_checkpoint_are_restored() throws Exception {
        fileMerging("false");
    }

    @Test
    void files_merged_across_checkpoints_are_restored() throws Exception {
        fileMerging("true");
    }

    private void fileMerging(String acrossCheckpoints) throws Exception {
        JobSpec merging = merging(acrossCheckpoints);
        restoreTwice(retainedCheckpoint(merging), merging, Claim.CLAIM);
    }

    @Test
    @Tag("quick")
    void a_task_manager_killed_again_and_again_loses_nothing() throws Exception {
        // Until Flink notices that a TaskManager is gone it deploys to it again and again, each time an attempt.
        Job job = someWay(ROCKSDB_INCREMENTAL.with("restart-strategy.fixed-delay.attempts", "1000000"));
        // So slow that the orders last: ten minutes at least.
        job.pace(20);
        for (int i = 0; i < KILLS; i++) {
            job.recoversFrom(() -> killItsTaskManagerAndStartAnother(job));
        }
        job.finishAndCheck();
        cluster.awaitReady();
    }

    private void killItsTaskManagerAndStartAnother(Job job) throws Exception {
        cluster.killTaskManagerOf(job);
        cluster.startTaskManager();
    }

    /** A job that has been through some orders, checkpointed, and been through more. It is held. */
    private Job someWay(JobSpec spec) throws Exception {
        Job job = submit(spec).awaitRunning();
        job.pass(2500).awaitCheckpoints(1);
        job.pass(5000);
        scan();
        return job;
    }

    final String retainedCheckpoint(JobSpec spec) throws Exception {
        Job job = someWay(spec);
        job.awaitCheckpoints(1);
        return job.cancel();
    }

    /** The job goes on past its savepoint and is then given up: what is restored must be the savepoint's state. */
    final String savepointOf(JobSpec spec, Format format) throws Exception {
        Job job = someWay(spec);
        String savepoint = job.savepoint(format);
        checkStored(Scan.of(Storage.path(savepoint)));
        job.pass(7000);
        job.cancel();
        return savepoint;
    }

    private void restore(String path, JobSpec spec) throws Exception {
        restore(path, spec, Claim.NO_CLAIM);
    }

    final void restore(String path, JobSpec spec, Claim claim) throws Exception {
        Job job = submit(spec.restoredFrom(path, claim));
        job.finishAndCheck();
        assertEquals(1, job.restores(), "restored from " + path);
    }

    /** The second restore is from a checkpoint that the first restored job wrote on top of what it was given. */
    final void restoreTwice(String path, JobSpec spec, Claim claim) throws Exception {
        Job job = submit(spec.restoredFrom(path, claim)).awaitRunning();
        job.pass(2500).awaitCheckpoints(2);
        scan();
        restore(job.cancel(), spec);
    }

    private Job submit(JobSpec spec) throws Exception {
        Job job = cluster.submit(spec);
        jobs.add(job);
        return job;
    }

    private void scan() throws IOException {
        checkStored(Scan.of(storage.root()));
    }

    static JobSpec merging(String acrossCheckpoints) {
        return ROCKSDB_INCREMENTAL
                .with("execution.checkpointing.file-merging.enabled", "true")
                .with("execution.checkpointing.file-merging.across-checkpoint-boundary", acrossCheckpoints);
    }

    private static JobSpec rocksDb(String incremental) {
        return JOB.with("state.backend.type", "rocksdb").with("execution.checkpointing.incremental", incremental);
    }
}
