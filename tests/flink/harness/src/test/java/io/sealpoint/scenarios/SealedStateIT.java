package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Job.Format;
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

    @Override
    void checkStored(Scan scan) {
        assertTrue(scan.sealed() > 0, "sealed files: " + scan);
        checkLeft(scan);
    }

    @Override
    void checkLeft(Scan scan) {
        assertEquals(List.of(), scan.withMarker(), "files with personal data in clear");
        assertEquals(List.of(), scan.unsealed(), "files that are not sealed");
    }
}
