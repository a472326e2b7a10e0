package io.sealpoint.harness;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
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
        run("keyring", "create", keyring.toString());
    }

    /** How the command-line tool ended, and what it said. */
    public record Answer(int status, String said) {}

    /** Runs the command-line tool. @return what it wrote to standard output; if it failed, all that it said is in the exception */
    public String run(String... arguments) throws IOException, InterruptedException {
        return run(Map.of(), arguments);
    }

    /** The same with these variables in its environment. */
    public String run(Map<String, String> environment, String... arguments) throws IOException, InterruptedException {
        Path errors = Files.createTempFile("sealpoint", ".err");
        try {
            Answer answer = ended(command(environment, arguments).redirectError(errors.toFile()));
            if (answer.status() != 0) {
                throw new IOException("sealpoint " + String.join(" ", arguments) + " ended with " + answer.status() + ":\n" + answer.said()
                        + Files.readString(errors));
            }
            return answer.said();
        } finally {
            Files.delete(errors);
        }
    }

    /** Runs the command-line tool, however it ends. */
    public Answer ask(String... arguments) throws IOException, InterruptedException {
        return ask(Map.of(), arguments);
    }

    /** The same with these variables in its environment. */
    public Answer ask(Map<String, String> environment, String... arguments) throws IOException, InterruptedException {
        return ended(command(environment, arguments).redirectErrorStream(true));
    }

    private ProcessBuilder command(Map<String, String> environment, String... arguments) {
        List<String> command = new ArrayList<>(List.of(cli.toString()));
        command.addAll(List.of(arguments));
        ProcessBuilder builder = new ProcessBuilder(command);
        Environment.set(builder, environment);
        return builder;
    }

    private static Answer ended(ProcessBuilder builder) throws IOException, InterruptedException {
        Process process = builder.start();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Answer(process.waitFor(), said);
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
