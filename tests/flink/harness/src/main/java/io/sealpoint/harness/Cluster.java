package io.sealpoint.harness;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/** A Flink cluster of separate processes on loopback: started, asked over REST, hurt, and always ended. */
public final class Cluster implements AutoCloseable {

    private static final String JOB_MANAGER = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint";
    private static final String TASK_MANAGER = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner";

    private final ClusterSpec spec;
    private final Path workDir;
    private final Map<String, String> addresses = new LinkedHashMap<>();
    private final List<FlinkProcess> processes = new ArrayList<>();
    private final List<FlinkProcess> taskManagers = new ArrayList<>();
    private final Rest rest;
    private FlinkProcess jobManager;
    private String jarId;
    private int jobs;

    private Cluster(ClusterSpec spec, Path workDir) throws IOException {
        this.spec = spec;
        this.workDir = Files.createDirectories(workDir);
        String rpcPort = String.valueOf(Ports.free());
        int restPort = Ports.free();
        addresses.put("jobmanager.rpc.address", "127.0.0.1");
        addresses.put("rest.address", "127.0.0.1");
        addresses.put("jobmanager.rpc.port", rpcPort);
        addresses.put("rest.port", String.valueOf(restPort));
        addresses.put("rest.bind-port", String.valueOf(restPort));
        rest = new Rest(restPort);
    }

    /** Returns once every TaskManager has registered; an error holds the logs. */
    public static Cluster start(ClusterSpec spec, Path workDir) throws Exception {
        Cluster cluster = launch(spec, workDir);
        try {
            cluster.awaitReady();
            return cluster;
        } catch (Throwable failure) {
            cluster.close();
            throw failure;
        }
    }

    /** Starts the processes and returns at once, for clusters that must refuse to start. */
    public static Cluster launch(ClusterSpec spec, Path workDir) throws IOException {
        Cluster cluster = new Cluster(spec, workDir);
        try {
            cluster.startJobManager();
            for (int i = 0; i < spec.taskManagers; i++) {
                cluster.startTaskManager();
            }
            return cluster;
        } catch (Throwable failure) {
            cluster.close();
            throw failure;
        }
    }

    public Distribution flink() {
        return spec.flink;
    }

    public void awaitReady() throws Exception {
        Await.answer("the cluster to start", this::evidence, () -> {
            String dead = processes.stream().filter(process -> !process.isAlive() && (process == jobManager || taskManagers.contains(process)))
                    .map(FlinkProcess::name).collect(Collectors.joining(", "));
            if (!dead.isEmpty()) {
                throw new AssertionError(dead + " ended instead of starting\n" + evidence());
            }
            return registeredTaskManagers() == taskManagers.size() ? Optional.of(true) : Optional.empty();
        });
        if (jarId == null) {
            jarId = rest.uploadJar(Distribution.jobJar());
        }
    }

    /** Where the JobManager died by itself: its log has the reason. */
    public void awaitJobManagerExit() throws Exception {
        Await.answer("the JobManager to give up", this::evidence, () -> jobManager.isAlive() ? Optional.empty() : Optional.of(true));
    }

    /** Submits over REST, as the web interface does: the job is configured by the JobManager's settings and its own. */
    public Job submit(JobSpec job) throws IOException, InterruptedException {
        JobFiles files = JobFiles.create(workDir.resolve("jobs").resolve(String.valueOf(jobs++)));
        Map<String, Object> request = new LinkedHashMap<>();
        request.put("parallelism", job.parallelism());
        request.put("programArgsList", files.arguments(job));
        request.put("flinkConfiguration", job.allSettings());
        if (job.restoreFrom() != null) {
            request.put("savepointPath", job.restoreFrom());
        }
        JsonNode answer = rest.post("/jars/" + jarId + "/run", request);
        return new Job(rest, answer.get("jobid").asText(), job, files, this::evidence);
    }

    /** Submits a job of another jar, whose main class takes these arguments. However often it fails, it is started again. */
    public Job submit(Path jar, String mainClass, int parallelism, String... arguments) throws IOException, InterruptedException {
        Map<String, Object> request = Map.of(
                "entryClass", mainClass,
                "parallelism", parallelism,
                "programArgsList", List.of(arguments),
                "flinkConfiguration", Map.of("restart-strategy.fixed-delay.attempts", "1000000"));
        JsonNode answer = rest.post("/jars/" + rest.uploadJar(jar) + "/run", request);
        return new Job(rest, answer.get("jobid").asText(), null, null, this::evidence);
    }

    /** Submits from a process of its own, as {@code flink run} does: the job is configured by that client's settings and its own. */
    public Job submitFromClient(JobSpec job, Map<String, String> clientSettings) throws IOException, InterruptedException {
        JobFiles files = JobFiles.create(workDir.resolve("jobs").resolve(String.valueOf(jobs++)));
        Map<String, String> settings = new LinkedHashMap<>(clientSettings);
        settings.putAll(addresses);
        Path conf = Files.createDirectories(workDir.resolve("conf-client"));
        writeConfig(conf, settings);
        String jobId = Client.run(workDir, classPath(), conf, job, files.arguments(job));
        return new Job(rest, jobId, job, files, this::evidence);
    }

    /** Disposes of a savepoint, as {@code flink savepoint -d} does. */
    public void disposeOf(String savepoint) throws Exception {
        String request = rest.post("/savepoint-disposal", Map.of("savepoint-path", savepoint)).get("request-id").asText();
        JsonNode operation = Await.answer("the disposal of " + savepoint, this::evidence, () -> {
            JsonNode answer = rest.get("/savepoint-disposal/" + request);
            return answer.get("status").get("id").asText().equals("COMPLETED") ? Optional.of(answer.get("operation")) : Optional.empty();
        });
        if (operation.hasNonNull("failure-cause")) {
            throw new IOException("the disposal failed: " + operation.get("failure-cause").path("stack-trace").asText());
        }
    }

    public void startTaskManager() throws IOException {
        int number = (int) processes.stream().filter(process -> process != jobManager).count();
        String name = "taskmanager-" + number;
        Map<String, String> settings = new LinkedHashMap<>(spec.taskManagerSettings);
        settings.put("taskmanager.resource-id", name);
        taskManagers.add(launch(name, TASK_MANAGER, settings, spec.taskManagerFlags));
    }

    /**
     * Kills a TaskManager that runs a part of this job: another may stand idle, and nobody would miss it.
     *
     * @return the pid that was killed
     */
    public long killTaskManagerOf(Job job) throws IOException, InterruptedException {
        Set<String> running = job.taskManagers();
        FlinkProcess victim = taskManagers.stream()
                .filter(process -> running.contains(process.name()))
                .findFirst()
                .orElseThrow(() -> new AssertionError("the job runs on " + running + ", and none of them is alive\n" + evidence()));
        taskManagers.remove(victim);
        victim.kill();
        return victim.pid();
    }

    /** Kills the oldest TaskManager, whatever runs on it. */
    public void killTaskManager() throws InterruptedException {
        taskManagers.remove(0).kill();
    }

    private void startJobManager() throws IOException {
        jobManager = launch("jobmanager", JOB_MANAGER, spec.jobManagerSettings, spec.jobManagerFlags);
    }

    private FlinkProcess launch(String name, String mainClass, Map<String, String> settings, List<String> flags) throws IOException {
        Path conf = Files.createDirectories(workDir.resolve("conf-" + name));
        Map<String, String> all = new LinkedHashMap<>(settings);
        all.putAll(addresses);
        all.putIfAbsent("io.tmp.dirs", Files.createDirectories(workDir.resolve("tmp").resolve(name)).toString());
        writeConfig(conf, all);
        FlinkProcess process = FlinkProcess.start(name, workDir, mainClass, classPath(), flags, conf, spec.environment);
        processes.add(process);
        return process;
    }

    private static void writeConfig(Path folder, Map<String, String> settings) throws IOException {
        StringBuilder yaml = new StringBuilder();
        settings.forEach((key, value) -> yaml.append(key).append(": \"").append(value.replace("\"", "\\\"")).append("\"\n"));
        Files.writeString(folder.resolve("config.yaml"), yaml);
    }

    /** Everything in {@code lib/}, and what the storage needs, which is as good as being there. */
    private List<String> classPath() {
        List<String> classPath = new ArrayList<>();
        classPath.add(spec.flink.lib() + "/*");
        spec.jars.forEach(jar -> classPath.add(jar.toString()));
        classPath.add(ownClasses());
        return classPath;
    }

    private int registeredTaskManagers() throws InterruptedException {
        try {
            return rest.get("/taskmanagers").get("taskmanagers").size();
        } catch (IOException notYet) {
            return -1;
        }
    }

    /** Where the TaskManager died by itself. */
    public void awaitTaskManagerExit(int index) throws Exception {
        FlinkProcess process = taskManagers.get(index);
        Await.answer(process.name() + " to give up", this::evidence, () -> process.isAlive() ? Optional.empty() : Optional.of(true));
    }

    /** The first line of any log that holds all the parts, as soon as there is one. */
    public String awaitLogLine(String... parts) throws Exception {
        return Await.answer("a log line with " + List.of(parts), this::evidence, () -> logLines()
                .filter(line -> List.of(parts).stream().allMatch(line::contains))
                .findFirst());
    }

    /** Every line of every log, of processes that were killed too. */
    public Stream<String> logLines() {
        return processes.stream().flatMap(process -> {
            try {
                return process.logLines().stream();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /**
     * What no run may contain, whatever it was about: a crash of the JVM, a thread that stopped because memory ran out, state that
     * is not what was stored, or a misuse of JNI by our library (RocksDB's own are not ours to judge).
     */
    public List<String> faults() throws IOException {
        List<String> faults = new ArrayList<>();
        try (Stream<Path> logs = Files.list(workDir.resolve("log"))) {
            logs.filter(log -> log.getFileName().toString().startsWith("hs_err")).forEach(log -> faults.add("a JVM crashed: " + log));
        }
        for (FlinkProcess process : processes) {
            List<String> lines = process.logLines();
            for (int i = 0; i < lines.size(); i++) {
                String line = lines.get(i);
                if (line.contains("WRONG STATE") || line.contains("OutOfMemoryError") || line.contains("FATAL ERROR in native method")) {
                    faults.add(process.name() + ": " + line);
                } else if (line.startsWith("WARNING") && (line.contains("native method") || line.contains("JNI"))) {
                    String trace = String.join("\n", lines.subList(i, Math.min(lines.size(), i + 8)));
                    if (trace.contains("io.sealpoint.")) {
                        faults.add(process.name() + ": " + trace);
                    }
                }
            }
        }
        return faults;
    }

    /** The ends of the logs, for a failure's message. */
    String evidence() {
        StringBuilder text = new StringBuilder();
        for (FlinkProcess process : processes) {
            text.append("---- ").append(process.log()).append(process.isAlive() ? "" : " (ended)").append('\n');
            try {
                text.append(process.logTail(30)).append('\n');
            } catch (IOException e) {
                text.append(e).append('\n');
            }
        }
        return text.toString();
    }

    @Override
    public void close() {
        processes.forEach(FlinkProcess::close);
    }

    /** Where the classes of this harness are, for {@link Leash}. */
    private static String ownClasses() {
        try {
            return Path.of(Cluster.class.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
        } catch (java.net.URISyntaxException e) {
            throw new IllegalStateException(e);
        }
    }
}
