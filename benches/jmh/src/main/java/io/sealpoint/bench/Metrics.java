package io.sealpoint.bench;

import java.util.HashMap;
import java.util.Map;

/** Reads Prometheus text: sums the samples of each name over its labels. */
final class Metrics {

    private Metrics() {}

    static Map<String, Double> of(String text) {
        Map<String, Double> sums = new HashMap<>();
        for (String line : text.split("\n")) {
            int end = line.lastIndexOf(' ');
            if (!line.startsWith("#") && end > 0) {
                String name = line.substring(0, end).replaceFirst("\\{.*", "");
                sums.merge(name, Double.valueOf(line.substring(end + 1)), Double::sum);
            }
        }
        return sums;
    }
}
