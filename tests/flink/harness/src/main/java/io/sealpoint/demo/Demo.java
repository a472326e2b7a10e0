package io.sealpoint.demo;

import com.fasterxml.jackson.databind.JsonNode;
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
import io.sealpoint.keyservice.KeyService;
import io.sealpoint.keyservice.KeyVersions;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Sealpoint at work on a real Flink cluster, each promise proved before the reader's eyes. Exits with 0 only if every one held.
 */
public final class Demo {

    private static final Distribution FLINK = Distribution.FLINK_2_3;
    private static final int CUSTOMERS = 20_000;
    private static final int ORDERS_EACH = 15;
    private static final int PROOFS = 8;
    private static final String KMS = System.getProperty("sealpoint.kms", "local");

    static final JobSpec JOB = JobSpec.of(CUSTOMERS, ORDERS_EACH)
            .with("state.backend.type", "rocksdb")
            .with("execution.checkpointing.incremental", "true");

    private final Stage stage = new Stage();
    private final Path workDir = workDir();
    private final Product product;

    private Demo(Product product) {
        this.product = product;
    }

    public static void main(String[] args) throws Exception {
        Optional<Product> product = Product.find();
        if (product.isEmpty()) {
            System.err.println("The demo needs Sealpoint itself: set the properties sealpoint.jar and sealpoint.cli, or run it as: make demo");
            System.exit(2);
        }
        if (!KeyService.NAMES.contains(KMS)) {
            System.err.println("KMS=" + KMS + " is none of " + String.join(", ", KeyService.NAMES));
            System.exit(2);
        }
        System.exit(new Demo(product.get()).run() ? 0 : 1);
    }

    private boolean run() throws IOException {
        Folders.clear(workDir);
        stage.say("Sealpoint on Apache " + FLINK + ": a JobManager and two TaskManagers, each its own process on this machine.");
        stage.say("A job keeps name, e-mail, account number and history of " + thousands(CUSTOMERS) + " customers in RocksDB,");
        stage.say("checkpoints it incrementally, and checks every record whenever it touches it.");
        boolean finished = false;
        int expected = PROOFS;
        try (KeyService keys = KeyService.start(KMS, workDir.resolve("key-service"))) {
            stage.say("The key is held by " + keys.title() + ".");
            Storage storage = Storage.sealed(workDir.resolve("sealed"), product, keys);
            control();
            String savepoint;
            try (Cluster cluster = startCluster(storage, "cluster")) {
                checkpointAndKill(cluster, storage);
                savepoint = rescale(cluster);
                flipOneBit(cluster, savepoint);
            }
            takeKeyAway(keys, storage, savepoint);
            if (keys instanceof KeyVersions) {
                expected += KeyLife.PROOFS;
                new KeyLife(this, stage, product, keys, storage).play(savepoint);
            } else {
                stage.scene("A new version of the key, and the end of the old one");
                stage.say("  left out with KMS=" + KMS + ": " + keys.title() + " has no switch that disables an old version of a key by itself");
            }
            finished = true;
        } catch (Throwable failure) {
            stage.say("");
            stage.say(withoutFrames(failure instanceof AssertionError ? failure.getMessage() : failure.toString()));
        }
        stage.table(expected);
        stage.say("  Logs and storage: " + workDir);
        return finished && stage.allHeld(expected);
    }

    /** A scan that finds nothing proves nothing unless it can find something. */
    private void control() throws Exception {
        stage.scene("The control: the same job without Sealpoint");
        Storage plain = Storage.plain(workDir.resolve("plain"));
        try (Cluster cluster = startCluster(plain, "cluster-plain")) {
            stage.prove("the scan finds personal data in Flink's own checkpoints", () -> {
                Job job = cluster.submit(JOB).awaitRunning().pace(20_000);
                watch(job, CUSTOMERS, 1);
                Scan scan = Scan.of(plain.checkpoints());
                require(!scan.withMarker().isEmpty() && scan.sealed() == 0, "nothing found: " + scan);
                job.cancel();
                return List.of(
                        scan.withMarker().size() + " of " + scan.files() + " files, " + megabytes(scan.bytes()) + ", hold it in clear",
                        "for example " + scan.withMarker().get(0).getFileName() + ": " + clearText(scan.withMarker().get(0)));
            });
        }
    }

    private void checkpointAndKill(Cluster cluster, Storage storage) throws Exception {
        stage.scene("The same job with Sealpoint");
        Job job = cluster.submit(JOB).awaitRunning().pace(6_000);

        stage.prove("incremental checkpoints complete", () -> {
            JsonNode checkpoint = watch(job, 4 * CUSTOMERS, 3);
            return List.of(
                    job.completedCheckpoints() + " completed; state " + megabytes(checkpoint.get("state_size").asLong()),
                    "the latest is " + checkpoint.get("external_path").asText());
        });

        stage.prove("no file under the checkpoint directory shows personal data", () -> {
            Scan scan = Scan.of(storage.checkpoints());
            require(scan.sealed() > 0 && scan.withMarker().isEmpty() && scan.unsealed().isEmpty(), "the scan says: " + scan
                    + "\nin clear: " + scan.withMarker() + "\nnot sealed: " + scan.unsealed());
            return List.of("0 of " + scan.files() + " files, " + megabytes(scan.bytes()) + "; all " + scan.sealed() + " are sealed files");
        });

        stage.prove("kill -9 of a TaskManager: the job recovers, its state exact", () -> {
            job.pace(1_000);
            long[] pid = new long[1];
            job.recoversFrom(() -> {
                pid[0] = cluster.killTaskManagerOf(job);
                stage.detail("kill -9 " + pid[0] + "; another TaskManager is started");
                cluster.startTaskManager();
            });
            JsonNode restored = job.checkpointStatistics().get("latest").get("restored");
            stage.detail("restored from checkpoint " + restored.get("id").asLong() + "; the rest of the orders run through");
            int exact = job.finishAndCheck();
            return List.of("all " + thousands(exact) + " customers: number of orders and checksum as computed apart");
        });
    }

    private String rescale(Cluster cluster) throws Exception {
        stage.scene("A savepoint, and another parallelism");
        cluster.awaitReady();
        String[] savepoint = new String[1];
        stage.prove("stopped with a savepoint at parallelism 2, restored at 4, exact", () -> {
            Job two = cluster.submit(JOB).awaitRunning().pass(2 * CUSTOMERS);
            savepoint[0] = two.stop(Job.Format.CANONICAL);
            JsonNode statistics = two.checkpointStatistics().get("latest").get("savepoint");
            Scan scan = Scan.of(Storage.path(savepoint[0]));
            require(scan.sealed() > 0 && scan.withMarker().isEmpty() && scan.unsealed().isEmpty(), "the scan says: " + scan);
            long plaintext = statistics.get("state_size").asLong();
            int exact = cluster.submit(JOB.parallelism(4).restoredFrom(savepoint[0], Claim.NO_CLAIM)).finishAndCheck();
            return List.of(
                    "all " + thousands(exact) + " customers; the savepoint is sealed, " + megabytes(scan.bytes()),
                    String.format(Locale.ROOT, "sealing added %d bytes to %d of state, %.3f %%", scan.bytes() - plaintext, plaintext,
                            100.0 * (scan.bytes() - plaintext) / plaintext),
                    savepoint[0]);
        });
        return savepoint[0];
    }

    private void flipOneBit(Cluster cluster, String savepoint) throws Exception {
        stage.scene("One flipped bit");
        stage.prove("a savepoint with one bit flipped is refused, and the file is named", () -> {
            Path copy = workDir.resolve("sealed").resolve("savepoints").resolve("flipped");
            Folders.copy(Storage.path(savepoint), copy);
            Path victim = largestFile(copy);
            byte[] content = Files.readAllBytes(victim);
            int at = content.length / 2;
            content[at] ^= 1;
            Files.write(victim, content);
            stage.detail("flipped bit 0 of byte " + at + " of " + victim.getFileName() + " in a copy");

            String from = savepoint.replace(Storage.path(savepoint).getFileName().toString(), "flipped");
            String failure = cluster.submit(oneTry(JOB).restoredFrom(from, Claim.NO_CLAIM)).fullSpeed().awaitFailure();
            String error = lineOf(failure, "sealpoint", victim.getFileName().toString());
            return List.of("the job fails and Flink shows why", error);
        });
    }

    private void takeKeyAway(KeyService keys, Storage storage, String savepoint) throws Exception {
        stage.scene("Without the key");
        stage.detail(keys.takeKeyAway());
        stage.prove("without the key nothing is restored, and the error says what to do", () -> {
            String failure = startAndRestoreWithoutKey(storage, savepoint);
            return List.of("the restore is refused", lineOf(failure, keys.complaint().toArray(String[]::new)));
        });

        keys.giveKeyBack();
        stage.prove("with the key back, the same savepoint is restored, exact", () -> {
            try (Cluster cluster = startCluster(storage, "cluster-with-key")) {
                int exact = cluster.submit(JOB.parallelism(4).restoredFrom(savepoint, Claim.NO_CLAIM)).finishAndCheck();
                return List.of("all " + thousands(exact) + " customers: nothing but the key was missing");
            }
        });
    }

    /** A fresh cluster, since the old one still has the keys it unwrapped. It may refuse to start, or start and refuse to restore. */
    private String startAndRestoreWithoutKey(Storage storage, String savepoint) throws Exception {
        try (Cluster cluster = startCluster(storage, "cluster-without-key")) {
            return cluster.submit(oneTry(JOB).restoredFrom(savepoint, Claim.NO_CLAIM)).fullSpeed().awaitFailure();
        } catch (AssertionError | IOException refused) {
            return refused.getMessage();
        }
    }

    Cluster startCluster(Storage storage, String name) throws Exception {
        stage.progress("starting a cluster");
        Cluster cluster = Cluster.start(ClusterSpec.of(FLINK, storage), workDir.resolve(name));
        stage.detail("cluster up, storage " + storage.uri(storage.checkpoints()));
        return cluster;
    }

    /** Shows how the job gets on until it has seen enough; holds it before it runs out of orders. */
    JsonNode watch(Job job, long orders, int checkpoints) throws Exception {
        int before = job.failedCheckpoints();
        while (true) {
            long seen = job.orders();
            JsonNode statistics = job.checkpointStatistics();
            int completed = statistics.get("counts").get("completed").asInt();
            JsonNode latest = statistics.get("latest").get("completed");
            stage.progress(thousands(seen) + " of " + thousands(JOB.orders()) + " orders, " + completed + " checkpoints"
                    + (latest.isNull() ? "" : ", state " + megabytes(latest.get("state_size").asLong())));
            if (seen > JOB.orders() / 2) {
                job.pace(0);
            }
            if (seen >= orders && completed >= checkpoints) {
                return latest;
            }
            // Those that were triggered before every task ran are counted too, and leave no trace but the count.
            JsonNode failure = statistics.get("latest").get("failed");
            require(failure.isNull() || job.failedCheckpoints() <= before + 3, "checkpoints fail: " + failure);
            require(job.state().equals("RUNNING"), "the job is " + job.state() + "\n" + job.exceptions());
            Thread.sleep(200);
        }
    }

    /** Kept when the demo is over, for whoever wants to look. */
    private static Path workDir() {
        String chosen = System.getProperty("sealpoint.demo.dir");
        return chosen == null ? Distribution.home().resolve("demo") : Path.of(chosen).toAbsolutePath();
    }

    private static JobSpec oneTry(JobSpec job) {
        return job.with("restart-strategy.type", "none");
    }

    static void require(boolean held, String otherwise) {
        if (!held) {
            throw new AssertionError(otherwise);
        }
    }

    private static String withoutFrames(String failure) {
        return failure.lines().filter(line -> !line.strip().matches("at .*|\\.\\.\\. \\d+ more")).collect(Collectors.joining("\n"));
    }

    /** The line of a failure that says everything asked for. */
    private static String lineOf(String failure, String... parts) {
        return failure.lines()
                .filter(line -> Arrays.stream(parts).allMatch(line::contains))
                .map(String::strip)
                .min(Comparator.comparingInt(String::length))
                .orElseThrow(() -> new AssertionError("no line of the error says " + Arrays.toString(parts) + ":\n" + failure));
    }

    private static Path largestFile(Path folder) throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.max(Comparator.comparingLong(file -> file.toFile().length())).orElseThrow();
        }
    }

    private static String clearText(Path file) throws IOException {
        String content = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
        int at = content.indexOf("Erika Mustermann");
        return at < 0 ? "(no name in it)" : "\"" + content.substring(at, content.indexOf('-', content.indexOf("PII-", at) + 4) + 3) + "...\"";
    }

    static String thousands(long number) {
        return String.format(Locale.ROOT, "%,d", number).replace(',', ' ');
    }

    private static String megabytes(long bytes) {
        return String.format(Locale.ROOT, "%.1f MB", bytes / 1e6);
    }
}
