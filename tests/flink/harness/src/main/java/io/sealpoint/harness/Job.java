package io.sealpoint.harness;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.function.Supplier;

/** A submitted customer job. It starts held; {@link #pace} lets it run. */
public final class Job {

    /** Of {@link #pass}: several checkpoints' worth of orders take a while, and are soon over. */
    private static final long PASSING = 1500;

    private static final Set<String> ENDED = Set.of("FINISHED", "CANCELED", "FAILED");

    /** How a savepoint is written: in one format for all state backends, or in the backend's own. */
    public enum Format {
        CANONICAL,
        NATIVE
    }

    private final Rest rest;
    private final String id;
    private final JobSpec spec;
    private final JobFiles files;
    private final Supplier<String> logs;

    Job(Rest rest, String id, JobSpec spec, JobFiles files, Supplier<String> logs) {
        this.rest = rest;
        this.id = id;
        this.spec = spec;
        this.files = files;
        this.logs = logs;
    }

    public String id() {
        return id;
    }

    /** Orders a second and source task; 0 holds the job. */
    public Job pace(long perSecond) throws IOException {
        files.writePace(perSecond, JobFiles.ALL);
        return this;
    }

    /**
     * Lets the job come as far as this many orders, counted from where it started or was restored, and holds it there. It comes a little
     * further, but no source task beyond that number alone, however late we look.
     */
    public Job pass(long orders) throws Exception {
        files.writePace(PASSING, orders);
        Await.answer(orders + " orders", this::evidence, () -> {
            failIfEnded(rest.get("/jobs/" + id));
            return orders() >= orders ? Optional.of(true) : Optional.empty();
        });
        return pace(0);
    }

    public Job fullSpeed() throws IOException {
        return pace(-1);
    }

    public String state() throws IOException, InterruptedException {
        return rest.get("/jobs/" + id).get("state").asText();
    }

    public Job awaitRunning() throws Exception {
        Await.answer("job " + id + " to run", this::evidence, () -> {
            JsonNode job = rest.get("/jobs/" + id);
            failIfEnded(job);
            for (JsonNode vertex : job.get("vertices")) {
                // All of its tasks: its own status is that of the first that runs.
                if (vertex.get("tasks").path("RUNNING").asInt() < vertex.get("parallelism").asInt()) {
                    return Optional.empty();
                }
            }
            return Optional.of(true);
        });
        return this;
    }

    /**
     * Orders that have reached the customers' records since the job, or its latest attempt, started. By the job's own word: Flink's metrics
     * stand still for as long as it asks a TaskManager that is gone.
     */
    public long orders() throws IOException {
        return files.orders();
    }

    /** Waits for something that the job brings about. */
    public Job awaitThat(String what, Callable<Boolean> happened) throws Exception {
        Await.answer(what, this::evidence, () -> {
            boolean yes = happened.call();
            if (!yes) {
                failIfEnded(rest.get("/jobs/" + id));
            }
            return yes ? Optional.of(true) : Optional.empty();
        });
        return this;
    }

    public JsonNode checkpointStatistics() throws IOException, InterruptedException {
        return rest.get("/jobs/" + id + "/checkpoints");
    }

    public int completedCheckpoints() throws IOException, InterruptedException {
        return checkpointStatistics().get("counts").get("completed").asInt();
    }

    public int failedCheckpoints() throws IOException, InterruptedException {
        return checkpointStatistics().get("counts").get("failed").asInt();
    }

    /** Waits for as many more completed checkpoints; returns the statistics of the last one. */
    public JsonNode awaitCheckpoints(int more) throws Exception {
        int before = completedCheckpoints();
        return Await.answer(more + " more checkpoints", this::evidence, () -> {
            failIfEnded(rest.get("/jobs/" + id));
            JsonNode statistics = checkpointStatistics();
            return statistics.get("counts").get("completed").asInt() >= before + more
                    ? Optional.of(statistics.get("latest").get("completed"))
                    : Optional.empty();
        });
    }

    /** Waits for as many more checkpoints that fail; returns the statistics of the last one. */
    public JsonNode awaitFailedCheckpoints(int more) throws Exception {
        int before = failedCheckpoints();
        return Await.answer(more + " more failed checkpoints", this::evidence, () -> {
            failIfEnded(rest.get("/jobs/" + id));
            JsonNode statistics = checkpointStatistics();
            return statistics.get("counts").get("failed").asInt() >= before + more
                    ? Optional.of(statistics.get("latest").get("failed"))
                    : Optional.empty();
        });
    }

    /** Triggers a checkpoint of the configured kind, now. */
    public Job checkpoint() throws Exception {
        String request = rest.post("/jobs/" + id + "/checkpoints", Map.of("checkpointType", "CONFIGURED")).get("request-id").asText();
        JsonNode operation = Await.answer("a checkpoint", this::evidence, () -> {
            JsonNode answer = rest.get("/jobs/" + id + "/checkpoints/" + request);
            return answer.get("status").get("id").asText().equals("COMPLETED") ? Optional.of(answer.get("operation")) : Optional.empty();
        });
        if (operation.hasNonNull("failure-cause")) {
            throw new IOException("the checkpoint failed: " + operation.get("failure-cause").path("stack-trace").asText());
        }
        return this;
    }

    /** The names of the TaskManagers that run it. */
    Set<String> taskManagers() throws IOException, InterruptedException {
        Set<String> names = new TreeSet<>();
        for (JsonNode vertex : rest.get("/jobs/" + id).get("vertices")) {
            JsonNode running = rest.get("/jobs/" + id + "/vertices/" + vertex.get("id").asText() + "/taskmanagers");
            running.get("taskmanagers").forEach(taskManager -> names.add(taskManager.get("taskmanager-id").asText()));
        }
        return names;
    }

    /** How often the job has been started again since it was submitted, by checkpoints restored. */
    public int restores() throws IOException, InterruptedException {
        return restores(checkpointStatistics());
    }

    private static int restores(JsonNode statistics) {
        return statistics.get("counts").get("restored").asInt();
    }

    /**
     * Does harm and waits until the job has got over it: restored from a checkpoint, perhaps several times while Flink still counts on
     * a process that is gone, and with a checkpoint of its own since.
     */
    public Job recoversFrom(Harm harm) throws Exception {
        int before = restores();
        harm.happen();
        Await.answer("the job to recover", this::evidence, () -> {
            failIfEnded(rest.get("/jobs/" + id));
            // One answer for both questions: between two of them a restore may happen.
            JsonNode statistics = checkpointStatistics();
            JsonNode latest = statistics.get("latest");
            return restores(statistics) > before
                            && latest.get("completed").path("trigger_timestamp").asLong()
                                    > latest.get("restored").path("restore_timestamp").asLong()
                    ? Optional.of(true)
                    : Optional.empty();
        });
        return this;
    }

    /** Something that a job should survive. */
    public interface Harm {
        void happen() throws Exception;
    }

    /** Triggers a savepoint; the job goes on. @return where it is */
    public String savepoint(Format format) throws Exception {
        return savepoint(format, null);
    }

    /** @param directory the URI of where to put it, instead of the configured directory */
    public String savepoint(Format format, String directory) throws Exception {
        Map<String, Object> request = new LinkedHashMap<>();
        if (directory != null) {
            request.put("target-directory", directory);
        }
        request.put("cancel-job", false);
        request.put("formatType", format.name());
        return awaitSavepoint(rest.post("/jobs/" + id + "/savepoints", request));
    }

    /** Stops the job with a savepoint. @return where it is */
    public String stop(Format format) throws Exception {
        Map<String, Object> request = new LinkedHashMap<>();
        request.put("drain", false);
        request.put("formatType", format.name());
        String location = awaitSavepoint(rest.post("/jobs/" + id + "/stop", request));
        awaitEnd("FINISHED");
        return location;
    }

    private String awaitSavepoint(JsonNode triggered) throws Exception {
        String request = triggered.get("request-id").asText();
        JsonNode operation = Await.answer("a savepoint", this::evidence, () -> {
            JsonNode answer = rest.get("/jobs/" + id + "/savepoints/" + request);
            return answer.get("status").get("id").asText().equals("COMPLETED") ? Optional.of(answer.get("operation")) : Optional.empty();
        });
        if (operation.has("failure-cause")) {
            throw new IOException("the savepoint failed: " + operation.get("failure-cause").path("stack-trace").asText());
        }
        return operation.get("location").asText();
    }

    /** Cancels the job; its latest checkpoint is retained. @return where that is */
    public String cancel() throws Exception {
        // A checkpoint may complete between the question and the cancelling: ask when it is over.
        rest.patch("/jobs/" + id + "?mode=cancel");
        awaitEnd("CANCELED");
        JsonNode latest = checkpointStatistics().get("latest").get("completed");
        return latest.isNull() ? null : latest.get("external_path").asText();
    }

    /** Ends the job if it has not ended, for whoever no longer cares how. */
    public void abandon() throws Exception {
        if (ENDED.contains(state())) {
            return;
        }
        try {
            rest.patch("/jobs/" + id + "?mode=cancel");
        } catch (Rest.RestException mayHaveEnded) {
            // If it has not, the wait says so.
        }
        Await.answer("job " + id + " to end", this::evidence, () -> ENDED.contains(state()) ? Optional.of(true) : Optional.empty());
    }

    /** For a job that cannot be paced. */
    public Job awaitFinished() throws Exception {
        awaitEnd("FINISHED");
        return this;
    }

    /** Lets the job run to its end and compares its report with the truth. @return how many customers were compared */
    public int finishAndCheck() throws Exception {
        fullSpeed();
        awaitEnd("FINISHED");
        return Report.check(files.report(), spec.customers(), spec.ordersEach());
    }

    /** Waits until the job has failed for good. @return its root exception, as Flink shows it */
    public String awaitFailure() throws Exception {
        awaitEnd("FAILED");
        return exceptions();
    }

    public String exceptions() throws IOException, InterruptedException {
        StringBuilder text = new StringBuilder();
        for (JsonNode entry : rest.get("/jobs/" + id + "/exceptions").get("exceptionHistory").get("entries")) {
            text.append(entry.path("stacktrace").asText()).append('\n');
        }
        return text.toString();
    }

    private String latestException() throws IOException, InterruptedException {
        JsonNode entries = rest.get("/jobs/" + id + "/exceptions").get("exceptionHistory").get("entries");
        return entries.isEmpty() ? "" : entries.get(0).path("stacktrace").asText();
    }

    private void awaitEnd(String wanted) throws Exception {
        Await.answer("job " + id + " to be " + wanted, this::evidence, () -> {
            JsonNode job = rest.get("/jobs/" + id);
            if (job.get("state").asText().equals(wanted)) {
                return Optional.of(true);
            }
            failIfEnded(job);
            return Optional.empty();
        });
    }

    private void failIfEnded(JsonNode job) throws IOException, InterruptedException {
        String state = job.get("state").asText();
        if (ENDED.contains(state)) {
            throw new AssertionError("job " + id + " is " + state + "\n" + latestException());
        }
    }

    private String evidence() {
        String exceptions;
        try {
            exceptions = latestException();
        } catch (IOException | InterruptedException e) {
            exceptions = e.toString();
        }
        return exceptions + "\n" + logs.get();
    }
}
