package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.SealedHeads;
import io.sealpoint.harness.Storage;
import io.sealpoint.keyservice.KeyService;
import io.sealpoint.keyservice.KeyService.Calls;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Clusters whose key is in a key service that dies and comes back; what they ask of it is counted there. */
class KeyServiceIT {

    private static final Distribution FLINK = Distribution.FLINK_2_3;

    /** How long the service is away; {@code make soak} takes a minute. */
    private static final int OUTAGE_SECONDS = Integer.getInteger("outage.seconds", 15);

    /** Orders for as long as it takes, at a pace that keeps the state changing; two operators keep state by key. */
    private static final JobSpec JOB = JobSpec.of(2000, 40 + 2 * OUTAGE_SECONDS)
            .argument("--count", "yes")
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true")
            .allInFiles();
    private static final int PACE = 200;

    /** All of them, or those of {@code -Dkms=vault,aws}. */
    static List<String> services() {
        return List.of(System.getProperty("kms", "vault,aws,azure,gcp,pkcs11").split(","));
    }

    @ParameterizedTest
    @MethodSource("services")
    void an_outage_costs_no_checkpoint_and_a_restore_asks_once_for_each_data_key(String kms) throws Exception {
        Path workDir = WorkDir.fresh(KeyServiceIT.class, FLINK, kms);
        try (KeyService keys = KeyService.start(kms, workDir.resolve("key-service"))) {
            Storage storage = Storage.sealed(workDir.resolve("storage"), Product.required(), keys);
            String checkpoint;
            try (Cluster cluster = Cluster.start(spec(storage), workDir.resolve("cluster"))) {
                Job job = cluster.submit(JOB).awaitRunning().pass(500).pace(PACE);
                job.awaitCheckpoints(3);
                survivesOutage(job, keys, !kms.equals("pkcs11"));
                checkpoint = job.cancel();
                assertEquals(List.of(), cluster.faults());
            }
            // A fresh cluster has no key in its memory. One TaskManager, so that each file is opened by one process only.
            ClusterSpec one = spec(storage)
                    .taskManagers(1)
                    .set("taskmanager.numberOfTaskSlots", "4")
                    // Calls are counted: none is to be made again because the machine is slow.
                    .set("sealpoint.kms.timeout", "60 s")
                    .set("sealpoint.kms.attempt-timeout", "60 s");
            try (Cluster cluster = Cluster.start(one, workDir.resolve("restored"))) {
                restoresWithOneCallPerDataKey(cluster, checkpoint, storage, keys);
                assertEquals(List.of(), cluster.faults());
            }
        }
    }

    /** @param comesBack not of SoftHSM, which finds a token whose files were away in no process that had it before */
    private static void survivesOutage(Job job, KeyService keys, boolean comesBack) throws Exception {
        int failed = job.failedCheckpoints();
        keys.kill();
        Thread.sleep(OUTAGE_SECONDS * 1000L);
        // The second was triggered while the key service is away, however slow the machine.
        job.awaitCheckpoints(2);
        keys.revive();
        assertEquals(0, job.restores(), "the job was not started again");

        long wraps = keys.calls().wraps();
        while (comesBack && keys.calls().wraps() < wraps + 3) {
            job.awaitCheckpoints(1);
        }
        assertEquals(failed, job.failedCheckpoints(), "checkpoints lost: " + job.checkpointStatistics().get("latest").get("failed"));
    }

    private static void restoresWithOneCallPerDataKey(Cluster cluster, String checkpoint, Storage storage, KeyService keys) throws Exception {
        Set<String> dataKeys = SealedHeads.dataKeys(Product.required(), storage.filesOf(checkpoint));
        Calls before = keys.calls();
        Job job = cluster.submit(JOB.parallelism(4).restoredFrom(checkpoint, Claim.NO_CLAIM)).awaitRunning();
        Calls after = keys.calls();
        assertTrue(dataKeys.size() > 1, "files of several checkpoints: " + dataKeys);
        assertEquals(dataKeys.size(), after.unwraps() - before.unwraps(), "one unwrap for each data key");
        job.finishAndCheck();
    }

    @Test
    void a_cluster_starts_without_its_key_service_and_checkpoints_once_that_is_back() throws Exception {
        Path workDir = WorkDir.fresh(KeyServiceIT.class, FLINK, "dead-at-start");
        try (KeyService keys = KeyService.start("vault", workDir.resolve("key-service"))) {
            Storage storage = Storage.sealed(workDir.resolve("storage"), Product.required(), keys);
            keys.kill();
            // Flink's own default is to start the job again after the first checkpoint that fails.
            ClusterSpec spec = spec(storage).set("execution.checkpointing.tolerable-failed-checkpoints", "1000");
            try (Cluster cluster = Cluster.start(spec, workDir.resolve("cluster"))) {
                Job job = cluster.submit(JOB).awaitRunning().pace(PACE);
                cluster.awaitLogLine("WARN", "no data key could be drawn", storage.settings(FLINK).get("sealpoint.kms.vault.address"));
                job.awaitFailedCheckpoints(2);
                cluster.awaitLogLine("Caused by: ", "there is no data key for tenant 'default' yet", "cannot be reached");
                assertEquals(0, job.completedCheckpoints());

                keys.revive();
                job.awaitCheckpoints(3);
                assertEquals(0, job.restores(), "the job ran all the time");
                job.finishAndCheck();
                assertEquals(List.of(), cluster.faults());
            }
        }
    }

    private static ClusterSpec spec(Storage storage) {
        return ClusterSpec.of(FLINK, storage).shortLived().checkJni();
    }
}
