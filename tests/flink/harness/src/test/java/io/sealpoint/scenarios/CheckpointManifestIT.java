package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.ClusterSpec;
import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.Job.Format;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Storage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The JobManager writes a manifest of every checkpoint, and restores nothing that is not what its manifest says. */
class CheckpointManifestIT {

    /** Checkpoints are taken when the scenario asks for them, and never else; every file of RocksDB is a file, and none is inside the metadata. */
    private static final JobSpec JOB = JobSpec.of(1000, 10)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true")
            .with("execution.checkpointing.interval", "1 h")
            .allInFiles();

    private static final String MANIFEST = ".sealpoint-manifest";

    @ParameterizedTest
    @MethodSource("io.sealpoint.harness.Distribution#all")
    void a_file_exchanged_for_another_of_its_name_or_a_missing_manifest_stops_the_restore(Distribution flink) throws Exception {
        Path workDir = WorkDir.fresh(CheckpointManifestIT.class, flink, "");
        Storage storage = Storage.sealed(workDir.resolve("storage"), Product.required());
        ClusterSpec spec = ClusterSpec.of(flink, storage)
                .shortLived()
                .checkJni()
                .taskManagers(1)
                .set("sealpoint.checkpoint.manifest", "require")
                // Nobody is killed here: a slow machine must not look like a dead process.
                .set("heartbeat.timeout", "60000");
        try (Cluster cluster = Cluster.start(spec, workDir.resolve("cluster"))) {
            Job job = cluster.submit(JOB).awaitRunning();
            job.pass(1500).checkpoint();
            job.pass(3000).checkpoint();
            storage.awaitSubsumedCheckpointsGone(job);

            String savepoint = job.savepoint(Format.CANONICAL);
            verify(storage, savepoint);
            cluster.disposeOf(savepoint);
            assertFalse(Files.exists(Storage.path(savepoint)), "Flink deletes a savepoint with its manifest");

            String checkpoint = job.cancel();
            verify(storage, checkpoint);
            JobSpec restored = JOB.restoredFrom(checkpoint, Claim.NO_CLAIM);

            // Sealed anew: the same tenant, name and content, and everything opens. Only a manifest tells these files from the right ones.
            Path anew = workDir.resolve("anew");
            Product.required().run("reencrypt", "--config", storage.toml().toString(), checkpoint, anew.toString());
            Path shared = sharedFile(storage, job, anew);
            Path right = Files.copy(shared, workDir.resolve("right"));
            Files.copy(in(anew, shared), shared, StandardCopyOption.REPLACE_EXISTING);
            String exchanged = refusal(cluster, restored);
            assertTrue(exchanged.contains(shared + ": it is another sealed file of that name"), exchanged);
            Files.copy(right, shared, StandardCopyOption.REPLACE_EXISTING);

            Path manifest = Storage.path(checkpoint).resolve(MANIFEST);
            Path aside = Files.move(manifest, workDir.resolve("manifest"));
            String missing = refusal(cluster, restored);
            assertTrue(missing.contains(checkpoint + " is not restored: it has no manifest"), missing);
            Files.move(aside, manifest);

            cluster.submit(restored).finishAndCheck();
            assertEquals(List.of(), cluster.faults());
        }
    }

    /** Flink answers a submission once the job is there, restored. */
    private static String refusal(Cluster cluster, JobSpec restored) {
        return assertThrows(IOException.class, () -> cluster.submit(restored)).getMessage();
    }

    private static void verify(Storage storage, String checkpoint) throws Exception {
        Product.required().run("verify", "--require-manifest", "--config", storage.toml().toString(), checkpoint);
    }

    /** A file that the job shares between its checkpoints, and that the last one needs: it was sealed anew. */
    private static Path sharedFile(Storage storage, Job job, Path anew) throws Exception {
        try (Stream<Path> files = Files.list(storage.checkpoints().resolve(job.id()).resolve("shared"))) {
            for (Path file : files.sorted().toList()) {
                if (in(anew, file) != null) {
                    return file;
                }
            }
        }
        throw new AssertionError("the checkpoint needs no shared file");
    }

    /** The file of the same name in a folder, or null. */
    private static Path in(Path folder, Path file) throws Exception {
        try (Stream<Path> files = Files.walk(folder)) {
            return files.filter(found -> found.getFileName().equals(file.getFileName())).findFirst().orElse(null);
        }
    }
}
