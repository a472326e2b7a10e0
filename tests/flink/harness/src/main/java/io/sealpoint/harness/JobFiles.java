package io.sealpoint.harness;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The files over which a job is held and released, and says how far it is, and reports. */
record JobFiles(Path pace, Path progress, Path report) {

    /** No limit to the number of orders. */
    static final long ALL = -1;

    /** A job starts held. */
    static JobFiles create(Path folder) throws IOException {
        JobFiles files = new JobFiles(
                folder.resolve("pace"),
                Files.createDirectories(folder.resolve("progress")),
                Files.createDirectories(folder.resolve("report")));
        files.writePace(0, ALL);
        return files;
    }

    /** @param orders where each source task stops, counted from where its latest attempt started */
    void writePace(long perSecond, long orders) throws IOException {
        Path fresh = pace.resolveSibling("pace.new");
        Files.writeString(fresh, perSecond + " " + orders);
        Files.move(fresh, pace, StandardCopyOption.ATOMIC_MOVE);
    }

    /** Orders that all subtasks of the customers' records have seen, each in its latest attempt. */
    long orders() throws IOException {
        Map<String, Integer> attempts = new HashMap<>();
        Map<String, Long> seen = new HashMap<>();
        for (Path file : Folders.files(progress)) {
            String[] task = file.getFileName().toString().split("-");
            int attempt = Integer.parseInt(task[1]);
            if (attempt >= attempts.getOrDefault(task[0], 0)) {
                byte[] count = Files.readAllBytes(file);
                attempts.put(task[0], attempt);
                // Its subtask has only just made it.
                seen.put(task[0], count.length < Long.BYTES ? 0 : ByteBuffer.wrap(count).getLong());
            }
        }
        return seen.values().stream().mapToLong(Long::longValue).sum();
    }

    List<String> arguments(JobSpec job) {
        List<String> arguments = new ArrayList<>(List.of(
                "--customers", String.valueOf(job.customers()),
                "--orders-each", String.valueOf(job.ordersEach()),
                "--work", String.valueOf(job.workMicros()),
                "--pace", pace.toString(),
                "--progress", progress.toString(),
                "--report", report.toString()));
        arguments.addAll(job.moreArguments());
        return arguments;
    }
}
