package io.sealpoint.demo;

import io.sealpoint.harness.Cluster;
import io.sealpoint.harness.Job;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.SealedHeads;
import io.sealpoint.harness.SealedHeads.Wrap;
import io.sealpoint.harness.Storage;
import io.sealpoint.keyservice.KeyService;
import io.sealpoint.keyservice.KeyVersions;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** The demo's last part: a new version of the key comes, the old one goes, and the state stays. */
final class KeyLife {

    static final int PROOFS = 4;

    private static final int NEEDED = 3;

    private final Demo demo;
    private final Stage stage;
    private final Product product;
    private final KeyVersions versions;
    private final Storage storage;

    KeyLife(Demo demo, Stage stage, Product product, KeyService keys, Storage storage) {
        this.demo = demo;
        this.stage = stage;
        this.product = product;
        this.versions = (KeyVersions) keys;
        this.storage = storage;
    }

    void play(String savepoint) throws Exception {
        stage.scene("A new version of the key, and the end of the old one");
        Job job;
        try (Cluster cluster = demo.startCluster(storage, "cluster-rotated")) {
            job = cluster.submit(Demo.JOB.restoredFrom(savepoint, Claim.NO_CLAIM)).awaitRunning().pace(1_000);
            Wrap old = rotate(job);
            stage.prove("before the rewrap, sealpoint report says that the old version is needed, and by what", () -> report(old, NEEDED));
            rewrap(job, old);
            stage.detail(versions.disableFirst());
            demo.watch(job, 0, job.completedCheckpoints() + 2);
        }
        stage.detail("the job went on; the whole cluster is killed");
        // Before that, it may be deleted while it is looked at.
        String checkpoint = storage.uri(storage.newestCheckpoint(job));
        stage.prove("without the old version, the job is restored, exact", () -> {
            try (Cluster cluster = demo.startCluster(storage, "cluster-without-version")) {
                int exact = cluster.submit(Demo.JOB.parallelism(4).restoredFrom(checkpoint, Claim.CLAIM)).finishAndCheck();
                return List.of("all " + Demo.thousands(exact) + " customers, from " + checkpoint);
            }
        });
    }

    /** @return what wrapped before */
    private Wrap rotate(Job job) throws Exception {
        Wrap[] old = new Wrap[1];
        stage.prove("the key is rotated under the running job, and its next checkpoints are under the new version", () -> {
            demo.watch(job, 0, 2);
            old[0] = newestWrap(job);
            stage.detail(versions.rotate());
            Wrap fresh = old[0];
            while (fresh.equals(old[0])) {
                demo.watch(job, 0, job.completedCheckpoints() + 1);
                fresh = newestWrap(job);
            }
            Demo.require(job.restores() == 1, "the job was started again");
            return List.of("from version " + old[0].version() + " to version " + fresh.version());
        });
        return old[0];
    }

    private void rewrap(Job job, Wrap old) throws Exception {
        stage.prove("its state is rewrapped under the running job: no checkpoint fails, and nobody needs the old version", () -> {
            int failed = job.failedCheckpoints();
            stage.detail("sealpoint rewrap checkpoints savepoints");
            String said = product.run(onStorage("rewrap"));
            demo.watch(job, 0, job.completedCheckpoints() + 3);
            Demo.require(job.failedCheckpoints() == failed, "checkpoints failed: " + job.checkpointStatistics().get("latest").get("failed"));
            List<String> evidence = new ArrayList<>(List.of(said.lines().filter(line -> line.contains("data keys")).findFirst().orElseThrow()));
            evidence.addAll(report(old, 0));
            return evidence;
        });
    }

    /** @return what the report says; it must end with this status */
    private List<String> report(Wrap version, int status) throws Exception {
        Product.Answer answer = product.ask(onStorage("report", "--needs", version.key() + "@" + version.version()));
        Demo.require(answer.status() == status, "sealpoint report ended with " + answer.status() + ":\n" + answer.said());
        List<String> lines = answer.said().lines().filter(line -> !line.isBlank()).toList();
        // Its last line answers; before that it names the files, and then says what is under the version.
        List<String> evidence = new ArrayList<>(List.of(lines.get(lines.size() - 1)));
        evidence.add("sealpoint report --needs " + version.key() + "@" + version.version() + " ends with " + status + ":");
        lines.stream().filter(line -> !line.startsWith("needed by ")).takeWhile(line -> !line.contains(" sealed files of ")).forEach(evidence::add);
        return evidence;
    }

    private String[] onStorage(String command, String... options) throws IOException {
        Stream<String> head = Stream.of(command, "--config", storage.toml().toString());
        Stream<String> places = Stream.of(storage.checkpoints().toString(), storage.savepoints().toString());
        return Stream.concat(head, Stream.concat(Stream.of(options), places)).toArray(String[]::new);
    }

    /** By what the newest checkpoint is wrapped; a checkpoint may be gone before it is looked at. */
    private Wrap newestWrap(Job job) throws IOException, InterruptedException {
        for (int patience = 100; ; patience--) {
            try {
                return SealedHeads.wrap(product, storage.newestCheckpoint(job).resolve("_metadata"));
            } catch (IOException gone) {
                if (patience == 0) {
                    throw gone;
                }
                Thread.sleep(50);
            }
        }
    }
}
