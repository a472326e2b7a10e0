package io.sealpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Data keys are wrapped anew out of a JVM as by the command-line tool. */
class RewrapTest {
    @TempDir
    Path directory;

    private Path keyring;

    @BeforeEach
    void create() throws Exception {
        keyring = directory.resolve("keyring");
        tool("keyring", "create", keyring.toString());
    }

    @Test
    void after_a_rotation_files_and_directories_are_rewrapped() throws Exception {
        Path file = directory.resolve("store/job/chk-1/state");
        Files.createDirectories(file.getParent());
        try (SealpointEngine engine = engine()) {
            seal(engine, file);
            seal(engine, file.resolveSibling("other"));
            RewrapReport untouched = engine.rewrap(directory.resolve("store").toString());
            assertTrue(untouched.json().contains("\"renewed\":0"), untouched.json());

            tool("keyring", "rotate", keyring.toString());
            RewrapReport planned = engine.rewrap(file.toUri().toString(), new RewrapOptions().dryRun());
            assertTrue(planned.json().contains("\"renewed\":1"), planned.json());
            Path keys = directory.resolve("store/job/.sealpoint-keys");
            assertFalse(Files.exists(keys));

            RewrapReport report = engine.rewrap(
                    "sealed+" + directory.resolve("store").toUri(),
                    new RewrapOptions().to("primary").kmsCallsPerSecond(1000).storeRequestsPerSecond(1000));
            assertEquals(0, report.failures(), report.json());
            assertTrue(report.json().contains("\"renewed\":1"), report.json());
            assertTrue(Files.exists(keys));
        }
        tool("keyring", "disable", keyring.toString(), "1");
        tool("open", "--config", config().toString(), "--verify", file.toString());
    }

    @Test
    void what_fails_is_in_the_report_and_what_is_wrong_is_thrown() throws Exception {
        try (SealpointEngine engine = engine()) {
            RewrapReport report = engine.rewrap(directory.resolve("nowhere").toString());
            assertEquals(1, report.failures());
            assertTrue(report.json().contains("there is no file"), report.json());
            SealpointException scheme = assertThrows(SealpointException.class, () -> engine.rewrap("hdfs://namenode/x"));
            assertEquals(ErrorCode.INVALID_ARGUMENT.number(), scheme.code());
            assertThrows(SealpointException.class, () -> engine.rewrap("/x", new RewrapOptions().to("nobody")));
            assertThrows(IllegalArgumentException.class, () -> new RewrapOptions().kmsCallsPerSecond(0));
        }
    }

    private SealpointEngine engine() throws SealpointException {
        return TestKeys.engine("kms.local.keyring", keyring.toString());
    }

    private Path config() throws IOException {
        String text = "kms.provider = 'local'\nkms.local.keyring = '" + keyring + "'\n";
        return Files.writeString(directory.resolve("sealpoint.toml"), text);
    }

    private static void seal(SealpointEngine engine, Path path) throws IOException {
        MemoryFile file = new MemoryFile();
        byte[] plain = path.toString().getBytes();
        try (SealedOutputStream out = new SealedOutputStream(file.sink(), engine.sealer(path.toString(), null), ArrayMode.DIRECT, path.toString())) {
            out.write(plain);
        }
        Files.write(path, file.bytes.toByteArray());
    }

    private static void tool(String... arguments) throws Exception {
        String[] command = new String[arguments.length + 1];
        command[0] = System.getProperty("sealpoint.cli");
        System.arraycopy(arguments, 0, command, 1, arguments.length);
        Process tool = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(tool.getInputStream().readAllBytes());
        assertEquals(0, tool.waitFor(), output);
    }
}
