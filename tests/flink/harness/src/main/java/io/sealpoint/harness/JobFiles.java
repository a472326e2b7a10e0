package io.sealpoint.harness;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;

/** The files over which a job is held and released, and reports. */
record JobFiles(Path pace, Path report) {

    /** A job starts held. */
    static JobFiles create(Path folder) throws IOException {
        JobFiles files = new JobFiles(folder.resolve("pace"), Files.createDirectories(folder.resolve("report")));
        files.writePace(0);
        return files;
    }

    void writePace(long perSecond) throws IOException {
        Path fresh = pace.resolveSibling("pace.new");
        Files.writeString(fresh, String.valueOf(perSecond));
        Files.move(fresh, pace, StandardCopyOption.ATOMIC_MOVE);
    }

    List<String> arguments(JobSpec job) {
        List<String> arguments = new ArrayList<>(List.of(
                "--customers", String.valueOf(job.customers()),
                "--orders-each", String.valueOf(job.ordersEach()),
                "--work", String.valueOf(job.workMicros()),
                "--pace", pace.toString(),
                "--report", report.toString()));
        arguments.addAll(job.moreArguments());
        return arguments;
    }
}
