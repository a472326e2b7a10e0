package io.sealpoint.bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What was measured: each figure of each peer on each JDK, once an iteration. */
final class Samples {

    private final Map<String, List<Double>> values = new LinkedHashMap<>();

    void add(String figure, String jdk, String peer, double value) {
        values.computeIfAbsent(key(figure, jdk, peer), ignored -> new ArrayList<>()).add(value);
    }

    /** Not a number if it was not measured. */
    double median(String figure, String jdk, String peer) {
        List<Double> sorted = new ArrayList<>(all(figure, jdk, peer));
        if (sorted.isEmpty()) {
            return Double.NaN;
        }
        Collections.sort(sorted);
        int middle = sorted.size() / 2;
        return sorted.size() % 2 == 1 ? sorted.get(middle) : (sorted.get(middle - 1) + sorted.get(middle)) / 2;
    }

    List<Double> all(String figure, String jdk, String peer) {
        return values.getOrDefault(key(figure, jdk, peer), List.of());
    }

    /** Every series, by a name like {@code seal/JDK 17/corretto}. */
    Map<String, List<Double>> series() {
        return values;
    }

    private static String key(String figure, String jdk, String peer) {
        return figure + "/" + jdk + "/" + peer;
    }
}
