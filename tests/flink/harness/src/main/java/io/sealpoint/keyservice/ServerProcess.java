package io.sealpoint.keyservice;

import io.sealpoint.harness.Environment;
import java.io.IOException;
import java.net.InetAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/** A server as a process of its own on a loopback port, its output in a log; it cannot outlive us, however we end. */
public final class ServerProcess implements AutoCloseable {

    /** Runs a command until it ends, or kills it (SIGKILL) once our end of the pipe to its standard input is closed. */
    private static final String LEASH = """
            exec 3<&0
            "$@" </dev/null 3<&- &
            pid=$!
            { cat >/dev/null; kill -KILL $pid; } <&3 3<&- 2>/dev/null &
            wait $pid
            """;
    private static final long STARTS_WITHIN_SECONDS = 120;

    private final String name;
    private final int port;
    private final Path log;
    private final List<String> command;
    private Process process;

    /** @param command with the port already in it */
    public ServerProcess(String name, int port, Path log, List<String> command) throws IOException, InterruptedException {
        this.name = name;
        this.port = port;
        this.log = log;
        this.command = command;
        requireProgram(command.get(0));
        start();
    }

    /** Returns once it listens. */
    void start() throws IOException, InterruptedException {
        List<String> leashed = new ArrayList<>(List.of("sh", "-c", LEASH, "leash"));
        leashed.addAll(command);
        ProcessBuilder builder = new ProcessBuilder(leashed)
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
        Environment.set(builder, Map.of());
        process = builder.start();
        Runtime.getRuntime().addShutdownHook(new Thread(this::close, "end-" + name));
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(STARTS_WITHIN_SECONDS);
        while (!listens()) {
            if (!process.isAlive() || System.nanoTime() > deadline) {
                close();
                throw new IOException(name + " does not serve; its log, " + log + ":\n" + Files.readString(log));
            }
            Thread.sleep(30);
        }
    }

    /** SIGKILL. */
    @Override
    public void close() {
        try {
            process.getOutputStream().close();
        } catch (IOException gone) {
            // It ended by itself.
        }
        process.onExit().join();
    }

    String log() throws IOException {
        return new String(Files.readAllBytes(log), StandardCharsets.UTF_8);
    }

    /** What it says in a line that begins so; it may listen before it has said that. */
    String awaitLine(String start) throws IOException, InterruptedException {
        while (true) {
            boolean ended = !process.isAlive();
            Optional<String> line = log().lines().filter(said -> said.startsWith(start)).findFirst();
            if (line.isPresent()) {
                return line.get();
            }
            if (ended) {
                throw new IOException(name + " has ended; its log, " + log + ":\n" + log());
            }
            Thread.sleep(30);
        }
    }

    private boolean listens() {
        try (Socket socket = new Socket(InetAddress.getLoopbackAddress(), port)) {
            return socket.isConnected();
        } catch (IOException refused) {
            return false;
        }
    }

    private static void requireProgram(String program) {
        if (program.startsWith("/") && !Files.isExecutable(Path.of(program))) {
            throw new IllegalStateException(program + " is missing: run make kms-env store-env first");
        }
    }
}
