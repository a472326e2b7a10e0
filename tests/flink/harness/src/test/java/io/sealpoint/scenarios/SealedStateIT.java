package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Folders;
import io.sealpoint.harness.Job.Format;
import io.sealpoint.harness.JobSpec;
import io.sealpoint.harness.JobSpec.Claim;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Scan;
import io.sealpoint.harness.Storage;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;

/** The guarantee: all of it works, and no file that Flink persists is readable without the key. */
class SealedStateIT extends StateScenarios {

    @BeforeParameterizedClassInvocation
    static void start(Distribution flink) throws Exception {
        Path workDir = WorkDir.fresh(SealedStateIT.class, flink, "");
        start(flink, Storage.sealed(workDir.resolve("storage"), Product.required()), workDir.resolve("cluster"));
    }

    /** The C program of tests/c, over the library alone, finds the personal data in what Flink wrote. */
    @Test
    void a_c_program_opens_what_flink_wrote() throws Exception {
        Path savepoint = Storage.path(savepointOf(HASH_MAP, Format.CANONICAL));
        Path largest;
        try (Stream<Path> files = Files.list(savepoint)) {
            largest = files.max(Comparator.comparingLong(file -> file.toFile().length())).orElseThrow();
        }
        ProcessBuilder program = new ProcessBuilder("bash", Distribution.home().resolve("../../c/run").normalize().toString());
        program.environment().put("FLINK_FILE", largest.toString());
        program.environment().put("FLINK_KEYRING", storage.keyring().toString());
        program.environment().put("FLINK_TEXT", "PII-MARKER");
        Process process = program.redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), output);
        assertTrue(output.contains(largest + ": "), output);
    }

    @Test
    void a_savepoint_sealed_anew_is_restored_without_the_old_one() throws Exception {
        restore(sealedAnew(savepointOf(ROCKSDB_INCREMENTAL, Format.CANONICAL)), ROCKSDB_INCREMENTAL, Claim.NO_CLAIM);
    }

    @Test
    void an_incremental_checkpoint_sealed_anew_is_built_upon_without_the_old_one() throws Exception {
        restoreTwice(sealedAnew(retainedCheckpoint(ROCKSDB_INCREMENTAL)), ROCKSDB_INCREMENTAL, Claim.CLAIM);
    }

    @Test
    void a_changelog_sealed_anew_is_restored_without_the_old_one() throws Exception {
        restore(sealedAnew(retainedCheckpoint(CHANGELOG)), CHANGELOG, Claim.CLAIM);
    }

    @Test
    void merged_files_sealed_anew_are_built_upon_without_the_old_ones() throws Exception {
        JobSpec merging = merging("true");
        restoreTwice(sealedAnew(retainedCheckpoint(merging)), merging, Claim.CLAIM);
    }

    /** Verified, under new keys, verified again; what it was made from is gone. */
    private static String sealedAnew(String path) throws Exception {
        Path target = storage.savepoints().resolve("sealed-anew");
        String config = storage.toml().toString();
        Product.required().run("verify", "--config", config, path);
        Product.required().run("reencrypt", "--config", config, path, target.toString());
        for (Path folder : List.of(storage.checkpoints(), storage.changelog(), Storage.path(path))) {
            Folders.clear(folder);
        }
        Product.required().run("verify", "--config", config, target.toString());
        return storage.uri(target);
    }

    @Override
    void checkStored(Scan scan) {
        assertTrue(scan.sealed() > 0, "sealed files: " + scan);
        checkLeft(scan);
    }

    @Override
    void checkWhole(String checkpoint, boolean whole) throws Exception {
        Product.Answer verdict = Product.required().ask("verify", "--config", storage.toml().toString(), checkpoint);
        assertEquals(whole ? 0 : 3, verdict.status(), verdict.said());
    }

    @Override
    void checkLeft(Scan scan) {
        assertEquals(List.of(), scan.withMarker(), "files with personal data in clear");
        assertEquals(List.of(), scan.unsealed(), "files that are not sealed");
    }
}
