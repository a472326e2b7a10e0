package io.sealpoint.harness;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/** One JVM of a cluster: a JobManager or a TaskManager, its log, and the certainty that it ends with us. */
final class FlinkProcess implements AutoCloseable {

    /** What Flink's own start scripts pass on JDK 17; without these Kryo and the RPC system cannot start. */
    static final List<String> MODULE_FLAGS = List.of(
            "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
            "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
            "--add-opens=java.base/java.lang=ALL-UNNAMED",
            "--add-opens=java.base/java.net=ALL-UNNAMED",
            "--add-opens=java.base/java.io=ALL-UNNAMED",
            "--add-opens=java.base/java.nio=ALL-UNNAMED",
            "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
            "--add-opens=java.base/java.lang.reflect=ALL-UNNAMED",
            "--add-opens=java.base/java.text=ALL-UNNAMED",
            "--add-opens=java.base/java.time=ALL-UNNAMED",
            "--add-opens=java.base/java.util=ALL-UNNAMED",
            "--add-opens=java.base/java.util.concurrent=ALL-UNNAMED",
            "--add-opens=java.base/java.util.concurrent.atomic=ALL-UNNAMED",
            "--add-opens=java.base/java.util.concurrent.locks=ALL-UNNAMED");

    private static final Set<Process> RUNNING = ConcurrentHashMap.newKeySet();

    static {
        Runtime.getRuntime().addShutdownHook(new Thread(() -> RUNNING.forEach(Process::destroyForcibly), "kill-clusters"));
    }

    private final String name;
    private final Path log;
    private final Process process;

    private FlinkProcess(String name, Path log, Process process) {
        this.name = name;
        this.log = log;
        this.process = process;
    }

    static FlinkProcess start(
            String name,
            Path workDir,
            String mainClass,
            List<String> classPath,
            List<String> jvmFlags,
            Path confDir,
            Map<String, String> environment)
            throws IOException {
        Path logs = Files.createDirectories(workDir.resolve("log"));
        Path log = logs.resolve(name + ".log");
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(MODULE_FLAGS);
        command.addAll(List.of("-XX:+UseSerialGC", "-XX:ErrorFile=" + logs.resolve("hs_err_" + name + ".log")));
        command.addAll(jvmFlags);
        command.add("-Dlog4j.configurationFile=" + loggingConfig(workDir));
        // Ten seconds by default, which a machine with much else to do exceeds; Flink's own option for it sets a name that Pekko does not read.
        command.add("-Dpekko.remote.classic.startup-timeout=120s");
        command.add("-Djava.io.tmpdir=" + Files.createDirectories(workDir.resolve("tmp")));
        command.addAll(List.of("-cp", String.join(":", classPath), Leash.class.getName(), mainClass));
        command.addAll(List.of("--configDir", confDir.toString()));

        ProcessBuilder builder = new ProcessBuilder(command)
                .directory(workDir.toFile())
                .redirectErrorStream(true)
                .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
        Environment.set(builder, environment);
        Process process = builder.start();
        RUNNING.add(process);
        return new FlinkProcess(name, log, process);
    }

    String name() {
        return name;
    }

    long pid() {
        return process.pid();
    }

    Path log() {
        return log;
    }

    boolean isAlive() {
        return process.isAlive();
    }

    /** SIGKILL: nothing is flushed, nothing is closed, nobody is told. */
    void kill() throws InterruptedException {
        process.destroyForcibly();
        process.waitFor();
        RUNNING.remove(process);
    }

    String logTail(int lines) throws IOException {
        List<String> all = logLines();
        return String.join("\n", all.subList(Math.max(0, all.size() - lines), all.size()));
    }

    List<String> logLines() throws IOException {
        // Native code may have written anything: a byte that is no UTF-8 must not stop the reading.
        return new String(Files.readAllBytes(log), StandardCharsets.UTF_8).lines().toList();
    }

    @Override
    public void close() {
        process.destroyForcibly();
        boolean interrupted = false;
        while (true) {
            try {
                process.waitFor();
                break;
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        RUNNING.remove(process);
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static Path loggingConfig(Path workDir) throws IOException {
        Path file = workDir.resolve("log4j2.properties");
        if (!Files.exists(file)) {
            Files.writeString(file, """
                    rootLogger.level = INFO
                    rootLogger.appenderRef.out.ref = out
                    appender.out.type = Console
                    appender.out.name = out
                    appender.out.layout.type = PatternLayout
                    appender.out.layout.pattern = %d{HH:mm:ss.SSS} %-5p %c{1.} - %m%n
                    """);
        }
        return file;
    }
}
