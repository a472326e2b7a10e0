package io.sealpoint.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * One run of everything, called by {@code benches/run}: the raw cipher and every peer in turn, each in a fresh process
 * and several times over, so that a machine that speeds up or slows down does so for all of them.
 *
 * <p>System properties: {@code bench.raw} the binary of benches/raw.rs, {@code bench.jdks} a comma list of Java homes,
 * {@code bench.keyring}, {@code bench.jar}, {@code bench.out} the folder of the report, {@code bench.quick}.
 */
public final class Run {

    private static final List<String> MAIN_PEERS = List.of("sealpoint", "corretto", "jce");

    private final boolean quick = Boolean.getBoolean("bench.quick");
    private final int rounds = quick ? 2 : 4;
    private final Samples samples = new Samples();
    private final List<Jdk> jdks = new ArrayList<>();
    private final RawCipher raw = new RawCipher(Path.of(System.getProperty("bench.raw")), samples);
    private final long begun = System.nanoTime();

    public static void main(String[] arguments) throws Exception {
        new Run().all();
    }

    private void all() throws Exception {
        for (String home : System.getProperty("bench.jdks").split(",")) {
            jdks.add(Jdk.at(Path.of(home)));
        }
        for (int round = 1; round <= rounds; round++) {
            streams("round " + round + " of " + rounds);
        }
        say("Tink");
        for (Jdk jdk : jdks) {
            jdk.stream("seal", "tink-4kb", 3, quick, samples);
            jdk.stream("open", "tink-4kb", 3, quick, samples);
            if (!quick) {
                // Segments of 1 MiB reach the compiler's thresholds late.
                jdk.stream("seal", "tink-1mb", 12, false, samples);
                jdk.stream("open", "tink-1mb", 12, false, samples);
            }
        }
        for (int round = 1; round <= (quick ? 1 : 3); round++) {
            say("small files and fresh JVMs, round " + round);
            for (Jdk jdk : jdks) {
                for (String peer : MAIN_PEERS) {
                    jdk.smallFile(peer, quick, samples);
                    jdk.firstFile(peer, samples);
                }
                jdk.tail(quick, samples);
            }
        }
        say("calls to the key service");
        jdks.get(0).keyServiceCalls(samples);
        overhead();

        Report report = new Report(samples, jdks, Duration.ofNanos(System.nanoTime() - begun), quick);
        Path out = Path.of(System.getProperty("bench.out"));
        Files.createDirectories(out);
        Files.writeString(out.resolve("report.md"), report.markdown());
        Files.writeString(out.resolve("report.json"), report.json());
        System.out.println();
        System.out.println(report.markdown());
    }

    private void streams(String round) throws Exception {
        for (String what : List.of("seal", "open")) {
            for (Jdk jdk : jdks) {
                say(round + ": " + what + " on " + jdk.name());
                raw.measure(quick);
                for (String peer : MAIN_PEERS) {
                    jdk.stream(what, peer, peer.equals("jce") ? 3 : 2, quick, samples);
                }
            }
        }
        raw.measure(quick);
    }

    private void overhead() throws Exception {
        SealedFile sealed = SealedFile.of(Peer.named("sealpoint"), StreamBench.FILE);
        samples.add("overhead", "", "sealpoint", 100.0 * (sealed.length() - StreamBench.FILE) / StreamBench.FILE);
    }

    private void say(String what) {
        System.out.printf("%4d s  %s%n", Duration.ofNanos(System.nanoTime() - begun).toSeconds(), what);
    }
}
