package io.sealpoint.harness;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** {@code flink run}, as a process with a configuration of its own. */
final class Client {

    private static final Pattern SUBMITTED = Pattern.compile("JobID ([0-9a-f]{32})");

    private Client() {}

    /** @return the id of the job */
    static String run(Path workDir, List<String> classPath, Path conf, JobSpec job, List<String> arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(FlinkProcess.MODULE_FLAGS);
        command.addAll(List.of("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m"));
        command.addAll(List.of("-cp", String.join(":", classPath), "org.apache.flink.client.cli.CliFrontend"));
        command.addAll(List.of("run", "--detached", "--parallelism", String.valueOf(job.parallelism())));
        job.allSettings().forEach((key, value) -> command.add("-D" + key + "=" + value));
        command.add(Distribution.jobJar().toString());
        command.addAll(arguments);

        ProcessBuilder builder = new ProcessBuilder(command).directory(workDir.toFile()).redirectErrorStream(true);
        Environment.set(builder, Map.of("FLINK_CONF_DIR", conf.toString()));
        Process process = builder.start();
        try {
            String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
            Matcher submitted = SUBMITTED.matcher(output);
            if (process.waitFor() != 0 || !submitted.find()) {
                throw new IOException("flink run failed:\n" + output);
            }
            return submitted.group(1);
        } finally {
            process.destroyForcibly();
        }
    }
}
