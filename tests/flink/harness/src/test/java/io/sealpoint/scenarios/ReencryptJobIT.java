package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
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
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A checkpoint is sealed anew by a cluster of which a part dies in the middle. */
class ReencryptJobIT {

    /** Its checkpoints consist of many files: none is ever compacted away. */
    private static final JobSpec JOB = JobSpec.of(1000, 60)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true")
            .with("state.backend.rocksdb.compaction.style", "FIFO")
            .with("execution.checkpointing.interval", "100 ms")
            .with("execution.checkpointing.min-pause", "50 ms");

    private static final int TRIES = 20;

    @ParameterizedTest
    @MethodSource("io.sealpoint.harness.Distribution#all")
    void a_checkpoint_sealed_anew_over_a_cluster_that_loses_a_task_manager_is_restored(Distribution flink) throws Exception {
        Product product = Product.required();
        Path workDir = WorkDir.fresh(ReencryptJobIT.class, flink, "");
        Storage storage = Storage.sealed(workDir.resolve("storage"), product);
        try (Cluster cluster = Cluster.start(ClusterSpec.of(flink, storage).shortLived().checkJni(), workDir.resolve("cluster"))) {
            Job job = cluster.submit(JOB).awaitRunning().pace(300);
            job.awaitCheckpoints(30);
            String checkpoint = job.cancel();
            Path source = Storage.path(checkpoint);
            Set<String> oldKeys = SealedHeads.dataKeys(product, source.getParent());

            Path target = sealedAnewWhileATaskManagerDies(cluster, storage, checkpoint);
            Set<String> shared = new HashSet<>(SealedHeads.dataKeys(product, target));
            shared.retainAll(oldKeys);
            assertEquals(Set.of(), shared, "no data key of before seals anything now");

            // Nothing of the old place is needed.
            Folders.clear(storage.checkpoints());
            Job restored = cluster.submit(JOB.restoredFrom(storage.uri(target), Claim.NO_CLAIM));
            restored.finishAndCheck();
            assertEquals(1, restored.restores());
            assertEquals(List.of(), cluster.faults());
        }
    }

    /** Again, to another place, where it was through before anybody could hurt it. */
    private static Path sealedAnewWhileATaskManagerDies(Cluster cluster, Storage storage, String checkpoint) throws Exception {
        for (int attempt = 1; attempt <= TRIES; attempt++) {
            Path target = storage.savepoints().resolve("anew-" + attempt);
            Job job = cluster.submit(
                    Product.required().jar(), "io.sealpoint.flink.ReencryptJob", 4, checkpoint, storage.uri(target));
            while (files(target) == 0 && !job.state().equals("FINISHED")) {
                Thread.sleep(1);
            }
            cluster.killTaskManager();
            cluster.startTaskManager();
            boolean inTheMiddle = !Files.exists(target.resolve("_metadata"));
            job.awaitFinished();
            cluster.awaitReady();
            assertTrue(Files.exists(target.resolve("_metadata")));
            if (inTheMiddle && job.failures() > 0) {
                return target;
            }
        }
        throw new AssertionError("no attempt of " + TRIES + " was still at work when a TaskManager died");
    }

    private static long files(Path folder) throws IOException {
        if (!Files.exists(folder)) {
            return 0;
        }
        try (Stream<Path> found = Files.walk(folder)) {
            return found.filter(Files::isRegularFile).count();
        }
    }
}
