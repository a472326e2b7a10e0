package io.sealpoint;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/** A keyring for tests, made by the command-line tool, and engines over it. */
public final class TestKeys {
    private static final Path KEYRING = create();

    private TestKeys() {}

    /** The options of an engine, plus these. */
    public static Map<String, String> options(String... more) {
        Map<String, String> options = new TreeMap<>();
        options.put("kms.provider", "local");
        options.put("kms.local.keyring", KEYRING.toString());
        for (int i = 0; i < more.length; i += 2) {
            options.put(more[i], more[i + 1]);
        }
        return options;
    }

    public static SealpointEngine engine(String... more) throws SealpointException {
        return SealpointEngine.open(options(more));
    }

    private static Path create() {
        try {
            Path directory = Files.createTempDirectory("sealpoint-test-keys");
            Path keyring = directory.resolve("keyring.json");
            Process tool = new ProcessBuilder(System.getProperty("sealpoint.cli"), "keyring", "create", keyring.toString())
                    .redirectErrorStream(true)
                    .start();
            String output = new String(tool.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            if (tool.waitFor() != 0) {
                throw new IllegalStateException("cannot create a keyring: " + output);
            }
            keyring.toFile().deleteOnExit();
            return keyring;
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        } catch (InterruptedException error) {
            throw new IllegalStateException(error);
        }
    }
}
