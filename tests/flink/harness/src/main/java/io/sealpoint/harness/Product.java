package io.sealpoint.harness;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** What is under test: the jar that goes into Flink's class path, and the command-line tool that makes keyrings. */
public record Product(Path jar, Path cli) {

    /** From the system properties {@code sealpoint.jar} and {@code sealpoint.cli}. */
    public static Optional<Product> find() {
        Optional<Path> jar = setting("sealpoint.jar");
        Optional<Path> cli = setting("sealpoint.cli");
        if (jar.isEmpty() && cli.isEmpty()) {
            return Optional.empty();
        }
        if (jar.isEmpty() || cli.isEmpty()) {
            throw new IllegalStateException("set both: sealpoint.jar is " + jar + ", sealpoint.cli is " + cli);
        }
        return Optional.of(new Product(jar.get(), cli.get()));
    }

    public static Product required() {
        return find().orElseThrow(() -> new IllegalStateException(
                "what is under test is not named: set the properties sealpoint.jar (the jar) and sealpoint.cli (the command-line tool)"));
    }

    public void createKeyring(Path keyring) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(cli.toString(), "keyring", "create", keyring.toString())
                .redirectErrorStream(true)
                .start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0 || !Files.exists(keyring)) {
            throw new IOException("sealpoint keyring create " + keyring + " failed:\n" + output);
        }
    }

    private static Optional<Path> setting(String property) {
        String value = System.getProperty(property);
        if (value == null || value.isBlank()) {
            return Optional.empty();
        }
        Path path = Path.of(value).toAbsolutePath().normalize();
        if (!Files.isRegularFile(path)) {
            throw new IllegalStateException(property + " names " + path + ", which is no file");
        }
        return Optional.of(path);
    }
}
