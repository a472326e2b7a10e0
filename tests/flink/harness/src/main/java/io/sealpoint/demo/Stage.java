package io.sealpoint.demo;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What the audience sees: headings, progress, a line for each proof, a table at the end. Colour and rewriting only on a terminal. */
final class Stage {

    private static final long PROGRESS_EVERY_MILLIS = 3000;

    private final PrintStream out = System.out;
    private final boolean terminal = Boolean.getBoolean("sealpoint.demo.terminal");
    private final long started = System.nanoTime();
    private final List<Proof> proofs = new ArrayList<>();
    private long lastProgress;
    private boolean progressShown;

    private record Proof(String claim, String evidence, double seconds, boolean held) {}

    /** @return the evidence, one or more lines; the first goes into the table too */
    interface Act {
        List<String> perform() throws Exception;
    }

    void say(String line) {
        endProgress();
        out.println(line);
    }

    void scene(String title) {
        say("");
        say(bold(title));
    }

    void detail(String line) {
        say("    " + line);
    }

    /** Performs what proves the claim. If it does not hold, the exception says why and the demo is over. */
    void prove(String claim, Act act) throws Exception {
        long begin = System.nanoTime();
        try {
            List<String> evidence = act.perform();
            proofs.add(new Proof(claim, evidence.get(0), secondsSince(begin), true));
            say("  " + green("proved") + "  " + claim);
            evidence.forEach(line -> say("          " + line));
        } catch (Throwable failure) {
            proofs.add(new Proof(claim, "did not hold", secondsSince(begin), false));
            say("  " + red("FAILED") + "  " + claim);
            throw failure;
        }
    }

    /** Shown in place on a terminal, now and then elsewhere. */
    void progress(String line) {
        if (terminal) {
            out.print("\r\033[K    " + line);
            out.flush();
            progressShown = true;
        } else if (System.currentTimeMillis() - lastProgress > PROGRESS_EVERY_MILLIS) {
            lastProgress = System.currentTimeMillis();
            out.println("    " + line);
        }
    }

    boolean allHeld(int expected) {
        return proofs.size() == expected && proofs.stream().allMatch(Proof::held);
    }

    void table(int expected) {
        int width = proofs.stream().mapToInt(proof -> proof.claim().length()).max().orElse(0);
        scene("What this run proved");
        for (Proof proof : proofs) {
            say(String.format(Locale.ROOT, "  %s  %-" + width + "s  %6.1f s  %s",
                    proof.held() ? green("yes") : red(" NO"), proof.claim(), proof.seconds(), proof.evidence()));
        }
        long held = proofs.stream().filter(Proof::held).count();
        say("");
        say(String.format(Locale.ROOT, "  %d of %d proved in %.0f s.", held, expected, secondsSince(started)));
    }

    private void endProgress() {
        if (progressShown) {
            out.print("\r\033[K");
            progressShown = false;
        }
    }

    private String bold(String text) {
        return terminal ? "\033[1m" + text + "\033[0m" : text;
    }

    private String green(String text) {
        return terminal ? "\033[32m" + text + "\033[0m" : text;
    }

    private String red(String text) {
        return terminal ? "\033[31m" + text + "\033[0m" : text;
    }

    private static double secondsSince(long nanos) {
        return (System.nanoTime() - nanos) / 1e9;
    }
}
