package io.sealpoint.keyservice;

import io.sealpoint.harness.Distribution;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Map;

/** What key services are started and set up with. */
final class Tools {

    /** The checkout. */
    private static final Path ROOT = Distribution.home().resolve("../../..").normalize();

    private Tools() {}

    /** A file of what {@code make kms-env} builds. */
    static Path environment(String path) {
        return ROOT.resolve("target/kms-env").resolve(path);
    }

    /** A server of our own, of tests/kms. */
    static Path server(String file) {
        return ROOT.resolve("tests/kms/servers").resolve(file);
    }

    /** Writes what only its owner may read. */
    static Path secret(Path file, String text) throws IOException {
        Files.writeString(file, text);
        return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-------"));
    }

    /** Runs a tool to its end. @return what it said */
    static String run(Map<String, String> environment, String... command) throws IOException, InterruptedException {
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().putAll(environment);
        Process process = builder.start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException(String.join(" ", command) + " failed:\n" + output);
        }
        return output;
    }
}
