package io.sealpoint.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** The figures of a run against the goals, as a table for people and as JSON. */
final class Report {

    private static final List<String> PEERS = List.of("sealpoint", "corretto", "jce", "tink-1mb", "tink-4kb");

    private final Samples samples;
    private final List<Jdk> jdks;
    private final Duration took;
    private final boolean quick;
    private final List<Goal> goals = new ArrayList<>();

    Report(Samples samples, List<Jdk> jdks, Duration took, boolean quick) {
        this.samples = samples;
        this.jdks = jdks;
        this.took = took;
        this.quick = quick;
        Core.read(Path.of(System.getProperty("bench.core", "target/bench/core.txt")), samples);
        goals();
    }

    private void goals() {
        goals.add(Goal.atLeast("core seal / raw", samples.median("core seal", "", "ratio"), 0.97));
        goals.add(Goal.atLeast("core open / raw", samples.median("core open", "", "ratio"), 0.97));
        for (Jdk jdk : jdks) {
            String on = ", " + jdk.name();
            boolean pins = jdk.feature() >= 22;
            goals.add(Goal.atLeast("seal / raw" + on, toRaw("seal", jdk, "sealpoint"), pins ? 0.92 : 0.78));
            goals.add(Goal.atLeast("open / raw with a copy" + on, toRaw("open", jdk, "sealpoint"), pins ? 0.92 : 0.80));
            if (pins) {
                goals.add(Goal.atLeast("seal / Corretto" + on, against("seal", jdk, "corretto"), 1.0));
                goals.add(Goal.atLeast("open / Corretto" + on, against("open", jdk, "corretto"), 1.05));
            } else {
                goals.add(Goal.atLeast("seal / JCE" + on, against("seal", jdk, "jce"), 1.7));
                goals.add(Goal.atLeast("open / JCE" + on, against("open", jdk, "jce"), 1.7));
            }
            double garbage = Math.max(of("seal garbage", jdk), of("open garbage", jdk));
            goals.add(Goal.atMost("garbage a MB" + on + ", KB", garbage / 1e3, 0.05));
            goals.add(Goal.atMost("first 64 MiB in a fresh JVM" + on + ", s", of("first 64 MiB", jdk), 0.04));
            goals.add(Goal.atMost("a 4 KiB file opened" + on + ", us", of("4 KiB", jdk), 8));
            goals.add(Goal.atMost("a 1 MiB file sealed, p99" + on + ", ms", of("1 MiB p99", jdk), 0.5));
        }
        goals.add(Goal.atMost("size overhead, %", samples.median("overhead", "", "sealpoint"), 0.15));
        goals.add(Goal.atMost("waits of a sealing thread for the key service", of("waits", jdks.get(0)), 0));
    }

    String markdown() {
        StringBuilder out = new StringBuilder();
        line(out, "%s, %s, %d s%s", machine(), LocalDate.now(), took.toSeconds(), quick ? ", quick: short forks, rough figures" : "");
        line(out, "");
        line(out, "| goal | reached | wanted | |");
        line(out, "| --- | --- | --- | --- |");
        for (Goal goal : goals) {
            line(out, "| %s | %s | %s | %s |", goal.name(), goal.reachedText(), goal.wantedText(), goal.verdict());
        }
        line(out, "");
        line(out, "| | seal MB/s | / raw | open MB/s | / raw | garbage B/MB, seal / open | 4 KiB file us | set-up s | first 64 MiB s |");
        line(out, "| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
        line(out, "| raw: in cache / with a copy | %s | 1 | %s | 1 | | | | |", number(raw("seal"), 0), number(raw("open"), 0));
        for (Jdk jdk : jdks) {
            for (String peer : PEERS) {
                if (!samples.all("seal", jdk.name(), peer).isEmpty()) {
                    peer(out, jdk, peer);
                }
            }
        }
        line(out, "");
        line(out, "Calls to the key service a checkpoint: %s, data keys drawn: %s. Raw copy from memory: %s MB/s.",
                number(of("key service calls", jdks.get(0)), 2), number(of("data keys drawn", jdks.get(0)), 2), number(raw("memcpy"), 0));
        return out.toString();
    }

    private void peer(StringBuilder out, Jdk jdk, String peer) {
        String on = jdk.name();
        line(out, "| %s, %s | %s | %s | %s | %s | %s / %s | %s | %s | %s |", peer, on,
                number(samples.median("seal", on, peer), 0), number(toRaw("seal", jdk, peer), 2),
                number(samples.median("open", on, peer), 0), number(toRaw("open", jdk, peer), 2),
                number(samples.median("seal garbage", on, peer), 0), number(samples.median("open garbage", on, peer), 0),
                number(samples.median("4 KiB", on, peer), 1),
                number(samples.median("set-up", on, peer), 3), number(samples.median("first 64 MiB", on, peer), 3));
    }

    String json() {
        StringBuilder out = new StringBuilder("{\n  \"machine\": \"" + machine() + "\",\n  \"date\": \"" + LocalDate.now() + "\",\n");
        out.append("  \"quick\": ").append(quick).append(",\n  \"goals\": [");
        String separator = "\n    ";
        for (Goal goal : goals) {
            out.append(separator).append(goal.json());
            separator = ",\n    ";
        }
        out.append("\n  ],\n  \"samples\": {");
        separator = "\n    ";
        for (Map.Entry<String, List<Double>> series : samples.series().entrySet()) {
            out.append(separator).append('"').append(series.getKey()).append("\": ").append(series.getValue());
            separator = ",\n    ";
        }
        return out.append("\n  }\n}\n").toString();
    }

    private double raw(String what) {
        return samples.median(what, "", RawCipher.NAME);
    }

    private double toRaw(String what, Jdk jdk, String peer) {
        return samples.median(what, jdk.name(), peer) / raw(what);
    }

    private double against(String what, Jdk jdk, String peer) {
        return samples.median(what, jdk.name(), "sealpoint") / samples.median(what, jdk.name(), peer);
    }

    private double of(String figure, Jdk jdk) {
        return samples.median(figure, jdk.name(), "sealpoint");
    }

    private static String machine() {
        try {
            for (String line : Files.readAllLines(Path.of("/proc/cpuinfo"))) {
                if (line.startsWith("model name")) {
                    return line.substring(line.indexOf(':') + 2);
                }
            }
        } catch (IOException elsewhere) {
            // Not Linux.
        }
        return System.getProperty("os.arch");
    }

    private static String number(double value, int digits) {
        return Double.isNaN(value) ? "" : String.format(Locale.ROOT, "%." + digits + "f", value);
    }

    private static void line(StringBuilder out, String format, Object... arguments) {
        out.append(String.format(Locale.ROOT, format, arguments)).append('\n');
    }
}
