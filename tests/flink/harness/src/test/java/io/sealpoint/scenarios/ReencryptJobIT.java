package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Folders;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.SealedHeads;
import io.sealpoint.harness.Storage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.AfterParameterizedClassInvocation;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;
import org.junit.jupiter.params.Parameter;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.MethodSource;

/** Checkpoints are sealed anew by a cluster, and restored where nothing of the old place is left. */
@ParameterizedClass(name = "{0}")
@MethodSource("io.sealpoint.harness.Distribution#all")
class ReencryptJobIT {

    private static final JobSpec JOB = JobSpec.of(1000, 60)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true")
            .with("execution.checkpointing.interval", "100 ms")
            .with("execution.checkpointing.min-pause", "50 ms")
            .allInFiles();

    /** Its checkpoints consist of many files: none is ever compacted away. */
    private static final JobSpec HOARDING = JOB.with("state.backend.rocksdb.compaction.style", "FIFO");

    private static final JobSpec MERGING = HOARDING
            .with("execution.checkpointing.file-merging.enabled", "true")
            .with("execution.checkpointing.file-merging.across-checkpoint-boundary", "true");

    private static final JobSpec CHANGELOG = JOB
            .with("state.changelog.enabled", "true")
            .with("state.changelog.periodic-materialize.interval", "1 s");

    private static Path workDir;
    private static Storage storage;
    private static Cluster cluster;

    @Parameter
    Distribution flink;

    @BeforeParameterizedClassInvocation
    static void start(Distribution flink) throws Exception {
        workDir = WorkDir.fresh(ReencryptJobIT.class, flink, "");
        storage = Storage.sealed(workDir.resolve("storage"), Product.required());
        cluster = Cluster.start(ClusterSpec.of(flink, storage).shortLived().checkJni(), workDir.resolve("cluster"));
    }

    @AfterParameterizedClassInvocation
    static void stop() {
        if (cluster != null) {
            cluster.close();
        }
        cluster = null;
    }

    @BeforeEach
    void clearStorage() throws Exception {
        storage.clear();
    }

    @AfterEach
    void lookForFaults() throws Exception {
        assertEquals(List.of(), cluster.faults());
    }

    @Test
    void a_checkpoint_sealed_anew_over_a_cluster_that_loses_a_task_manager_is_restored() throws Exception {
        Source source = retained(HOARDING, 10);
        // Held back, so that the job cannot be through before a part of its cluster is gone.
        Path file = source.files.stream().filter(found -> !found.endsWith("_metadata")).findFirst().orElseThrow();
        Path aside = Files.move(file, workDir.resolve("held-back"));
        sealAnewAndRestore(HOARDING, source, (job, target) -> {
            job.awaitThat("the first file", () -> !Folders.files(target).isEmpty());
            cluster.killTaskManager();
            cluster.startTaskManager();
            assertFalse(Files.exists(target.resolve("_metadata")), "they come last");
            Files.move(aside, file);
        });
    }

    @Test
    void a_checkpoint_of_merged_files_sealed_anew_is_restored() throws Exception {
        Source source = retained(MERGING, 3);
        String metadata = storage.metadata(source.checkpoint);
        assertTrue(source.files.stream().anyMatch(file -> isNamedTwice(file, metadata)), "several parts of one file");
        sealAnewAndRestore(MERGING, source, (job, target) -> {});
    }

    @Test
    void a_checkpoint_with_a_changelog_sealed_anew_is_restored() throws Exception {
        // It may have been taken right when all of the changelog had become state: then another one.
        Source source;
        do {
            source = retained(CHANGELOG, 3);
        } while (source.files.stream().noneMatch(file -> file.startsWith(storage.changelog())));
        sealAnewAndRestore(CHANGELOG, source, (job, target) -> {});
    }

    /** A checkpoint, and what it consists of. */
    private record Source(String checkpoint, List<Path> files, Set<String> dataKeys) {}

    private static Source retained(JobSpec spec, int checkpoints) throws Exception {
        // Checkpoints of a job that has only just begun would have nothing in them.
        Job job = cluster.submit(spec).awaitRunning().pass(500).pace(100);
        job.awaitCheckpoints(checkpoints);
        String checkpoint = job.cancel();
        List<Path> files = storage.filesOf(checkpoint);
        return new Source(checkpoint, files, SealedHeads.dataKeys(Product.required(), files));
    }

    private interface Meanwhile {
        void happen(Job job, Path target) throws Exception;
    }

    private static void sealAnewAndRestore(JobSpec spec, Source source, Meanwhile meanwhile) throws Exception {
        Product product = Product.required();
        Path target = storage.savepoints().resolve("anew");
        Job anew = cluster.submit(product.jar(), "io.sealpoint.flink.ReencryptJob", 4, source.checkpoint, storage.uri(target));
        meanwhile.happen(anew, target);
        anew.awaitFinished();
        Set<String> keys = new HashSet<>(SealedHeads.dataKeys(product, Folders.files(target)));
        keys.retainAll(source.dataKeys);
        assertEquals(Set.of(), keys, "no data key of before seals anything now");

        // Nothing of the old place is needed.
        Folders.clear(storage.checkpoints());
        Folders.clear(storage.changelog());
        Job restored = cluster.submit(spec.restoredFrom(storage.uri(target), Claim.CLAIM));
        restored.finishAndCheck();
        assertEquals(1, restored.restores());
    }

    private static boolean isNamedTwice(Path file, String metadata) {
        String name = file.getFileName().toString();
        return metadata.indexOf(name) != metadata.lastIndexOf(name);
    }
}
