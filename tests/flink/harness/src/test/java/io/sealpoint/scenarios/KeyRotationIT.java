package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Folders;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.Job.Format;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.SealedHeads;
import io.sealpoint.harness.Storage;
import io.sealpoint.keyservice.KeyService;
import io.sealpoint.keyservice.KeyVersions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The key is rotated under running jobs, their state rewrapped under running jobs, and the old version disabled. */
class KeyRotationIT {

    private static final JobSpec JOB = JobSpec.of(1000, 100)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true")
            .with("execution.checkpointing.interval", "100 ms")
            .with("execution.checkpointing.min-pause", "50 ms")
            .allInFiles();

    /** Keeps every file that it ever wrote, so that its checkpoints need those of the first version for good. */
    private static final JobSpec HOARDING = JOB.with("state.backend.rocksdb.compaction.style", "FIFO");

    /** Compacts, so that files are dropped and deleted all the time. */
    private static final JobSpec COMPACTING = JOB.with("state.backend.rocksdb.compaction.style", "LEVEL");

    private static final int PACE = 200;

    /** Both, or those of {@code -Dkms=vault}. */
    static List<Arguments> lines() {
        List<Arguments> lines = new ArrayList<>();
        for (Distribution flink : Distribution.all()) {
            for (String kms : System.getProperty("kms", "local,vault").split(",")) {
                lines.add(Arguments.of(flink, kms));
            }
        }
        return lines;
    }

    @ParameterizedTest
    @MethodSource("lines")
    void a_version_is_given_up_once_all_that_it_wrapped_is_rewrapped_and_not_before(Distribution flink, String kms) throws Exception {
        Path workDir = WorkDir.fresh(KeyRotationIT.class, flink, kms);
        try (KeyService keys = KeyService.start(kms, workDir.resolve("key-service"))) {
            Scene scene = new Scene(flink, workDir, keys, Storage.sealed(workDir.resolve("storage"), Product.required(), keys));
            scene.rotatesUnderRunningJobs();
            scene.needsTheOldVersionUntilItIsRewrapped();
            scene.restoresExactlyWithoutTheOldVersion();
        }
    }

    private static final class Scene {
        private final Distribution flink;
        private final Path workDir;
        private final KeyVersions versions;
        private final Storage storage;
        private final List<JobSpec> specs = List.of(HOARDING, COMPACTING);
        private List<String> checkpoints;
        private String savepoint;

        Scene(Distribution flink, Path workDir, KeyService keys, Storage storage) {
            this.flink = flink;
            this.workDir = workDir;
            this.versions = (KeyVersions) keys;
            this.storage = storage;
        }

        void rotatesUnderRunningJobs() throws Exception {
            try (Cluster cluster = start("first")) {
                List<Job> jobs = submit(cluster, null);
                go(jobs, 3);
                savepoint = jobs.get(0).savepoint(Format.CANONICAL);
                versions.rotate();
                do {
                    go(jobs, 20);
                } while (someoneIsUnderTheFirst(jobs));
                checkpoints = killed(cluster, jobs);
            }
        }

        /** A key service that is slow lets a JobManager go on with the data key that it has. */
        private boolean someoneIsUnderTheFirst(List<Job> jobs) throws Exception {
            for (Job job : jobs) {
                try {
                    Path newest = storage.newestCheckpoint(job).resolve("_metadata");
                    if (SealedHeads.wrap(Product.required(), newest).version().equals("1")) {
                        return true;
                    }
                } catch (IOException deletedMeanwhile) {
                    return true;
                }
            }
            return false;
        }

        void needsTheOldVersionUntilItIsRewrapped() throws Exception {
            versions.disableFirst();
            try (Cluster cluster = start("second")) {
                String refused = refusal(cluster);
                for (String part : versions.complaintOfFirst()) {
                    assertTrue(refused.contains(part), "the refusal says " + part + ":\n" + refused);
                }
                // In a line of our own: Flink's have the exception anyway.
                List<String> line = new ArrayList<>(versions.complaintOfFirst());
                line.add("Sealpoint refuses a file: ");
                cluster.awaitLogLine(line.toArray(String[]::new));
                versions.enableFirst();

                List<Job> jobs = submit(cluster, checkpoints);
                go(jobs, 2);
                // Those before, if any, were triggered while not every task ran yet.
                List<Integer> failed = failed(jobs);
                String said = Product.required().run("rewrap", "--config", storage.toml().toString(),
                        storage.checkpoints().toString(), storage.savepoints().toString());
                go(jobs, 10);
                assertEquals(failed, failed(jobs), () -> "no checkpoint fails: " + said);
                for (Job job : jobs) {
                    assertEquals(1, job.restores(), "no job was started again");
                }
                sidecarsLieWhereNothingIsInTheWay();
                cluster.disposeOf(savepoint);
                assertFalse(Files.exists(Storage.path(savepoint)), "the savepoint is gone, and its sidecar with it");
                versions.disableFirst();
                go(jobs, 2);
                assertEquals(failed, failed(jobs), "nobody misses the version");
                checkpoints = killed(cluster, jobs);
            }
        }

        void restoresExactlyWithoutTheOldVersion() throws Exception {
            try (Cluster cluster = start("third")) {
                for (Job job : submit(cluster, checkpoints)) {
                    job.finishAndCheck();
                }
                assertEquals(List.of(), cluster.faults());
            }
        }

        /** Of the hoarding job, from the checkpoint that was completed long after the rotation. */
        private String refusal(Cluster cluster) throws Exception {
            // Of several downloads at once that one refusal ends, Flink may show the failure of another.
            JobSpec once = HOARDING.with("restart-strategy.type", "none")
                    .with("state.backend.rocksdb.checkpoint.transfer.thread.num", "1")
                    .restoredFrom(checkpoints.get(0), Claim.NO_CLAIM);
            return cluster.submit(once).fullSpeed().awaitFailure();
        }

        private void sidecarsLieWhereNothingIsInTheWay() throws IOException {
            List<Path> folders = Folders.files(storage.root()).stream()
                    .filter(file -> file.getFileName().toString().startsWith(".sealpoint-"))
                    .map(Path::getParent)
                    .toList();
            assertTrue(folders.contains(Storage.path(savepoint)), "beside the savepoint's files: " + folders);
            assertEquals(List.of(), folders.stream().filter(folder -> folder.getFileName().toString().startsWith("chk-")).toList());
        }

        private Cluster start(String name) throws Exception {
            // Refusals are remembered for some seconds, which the scenario has no use for.
            ClusterSpec spec = ClusterSpec.of(flink, storage).shortLived().checkJni().set("heartbeat.timeout", "60000").set("sealpoint.cache.negative-ttl", "0 s");
            return Cluster.start(spec, workDir.resolve("cluster-" + name));
        }

        /** @param from where each is restored from, and goes on building upon; null for jobs that begin */
        private List<Job> submit(Cluster cluster, List<String> from) throws Exception {
            List<Job> jobs = new ArrayList<>();
            for (int i = 0; i < specs.size(); i++) {
                JobSpec spec = specs.get(i);
                jobs.add(cluster.submit(from == null ? spec : spec.restoredFrom(from.get(i), Claim.CLAIM)));
            }
            return jobs;
        }

        private void go(List<Job> jobs, int checkpoints) throws Exception {
            for (Job job : jobs) {
                // Checkpoints of a job that has only just begun would have nothing in them.
                job.awaitRunning().pass(500).pace(PACE);
            }
            for (Job job : jobs) {
                job.awaitCheckpoints(checkpoints);
            }
            for (Job job : jobs) {
                job.pace(0);
            }
        }

        private static List<Integer> failed(List<Job> jobs) throws Exception {
            List<Integer> failed = new ArrayList<>();
            for (Job job : jobs) {
                failed.add(job.failedCheckpoints());
            }
            return failed;
        }

        /** The whole cluster, without a word to it. @return what each job completed last */
        private List<String> killed(Cluster cluster, List<Job> jobs) throws Exception {
            assertEquals(List.of(), cluster.faults());
            cluster.close();
            List<String> newest = new ArrayList<>();
            for (Job job : jobs) {
                newest.add(storage.uri(storage.newestCheckpoint(job)));
            }
            return newest;
        }
    }
}
