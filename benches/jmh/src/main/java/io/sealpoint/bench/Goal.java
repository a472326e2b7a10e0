package io.sealpoint.bench;

import java.util.Locale;

/** One figure and the bound it is to keep. */
record Goal(String name, double reached, double bound, boolean atLeast) {

    static Goal atLeast(String name, double reached, double bound) {
        return new Goal(name, reached, bound, true);
    }

    static Goal atMost(String name, double reached, double bound) {
        return new Goal(name, reached, bound, false);
    }

    String verdict() {
        if (Double.isNaN(reached)) {
            return "not measured";
        }
        return (atLeast ? reached >= bound : reached <= bound) ? "met" : "NOT MET";
    }

    String reachedText() {
        return Double.isNaN(reached) ? "" : String.format(Locale.ROOT, reached < 0.1 ? "%.4f" : "%.3f", reached);
    }

    String wantedText() {
        return (atLeast ? ">= " : "<= ") + (bound == Math.rint(bound) ? String.valueOf((long) bound) : String.valueOf(bound));
    }

    String json() {
        String value = Double.isNaN(reached) ? "null" : String.valueOf(reached);
        return String.format(
                Locale.ROOT, "{\"name\": \"%s\", \"reached\": %s, \"wanted\": \"%s\", \"verdict\": \"%s\"}", name, value, wantedText(), verdict());
    }
}
