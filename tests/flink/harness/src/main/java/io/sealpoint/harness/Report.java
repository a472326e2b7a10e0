package io.sealpoint.harness;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * What the job said at its end, against what it must have said: computed here a second time from the order numbers alone.
 * Every customer and every ledger entry must be there once, with exact counts and checksums.
 */
public final class Report {

    private static final int LEDGER_ENTRIES = 24;

    private Report() {}

    /** @return how many customers were compared */
    public static int check(Path folder, int customers, int ordersEach) throws IOException {
        Map<String, String> lines = new HashMap<>();
        List<String> wrong = new ArrayList<>();
        for (String line : read(folder)) {
            int split = line.indexOf(',', line.indexOf(',') + 1);
            String subject = split < 0 ? line : line.substring(0, split);
            if (lines.put(subject, line) != null) {
                wrong.add(subject + " was reported twice");
            }
        }
        for (int customer = 0; customer < customers; customer++) {
            expect("customer," + customer, "customer," + customer + "," + ordersEach + "," + checksum(customer, customers, ordersEach), lines, wrong);
        }
        for (int entry = 0; entry < LEDGER_ENTRIES; entry++) {
            expect("ledger," + entry, "ledger," + entry, lines, wrong);
        }
        lines.values().forEach(line -> wrong.add("not expected at all: " + line));
        if (!wrong.isEmpty()) {
            throw new AssertionError(wrong.size() + " differences between the job's report and the truth, the first: "
                    + wrong.subList(0, Math.min(10, wrong.size())));
        }
        return customers;
    }

    private static void expect(String subject, String truth, Map<String, String> lines, List<String> wrong) {
        String line = lines.remove(subject);
        if (line == null) {
            wrong.add(subject + " was not reported");
        } else if (!line.equals(truth)) {
            wrong.add("expected " + truth + ", reported " + line);
        }
    }

    private static long checksum(long customer, long customers, long ordersEach) {
        long sum = 0;
        for (long order = 0; order < ordersEach; order++) {
            sum += splitMix64(order * customers + customer);
        }
        return sum;
    }

    private static long splitMix64(long value) {
        long first = (value ^ value >>> 30) * 0xbf58476d1ce4e5b9L;
        long second = (first ^ first >>> 27) * 0x94d049bb133111ebL;
        return second ^ second >>> 31;
    }

    private static List<String> read(Path folder) throws IOException {
        List<String> lines = new ArrayList<>();
        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : (Iterable<Path>) files::iterator) {
                lines.addAll(Files.readAllLines(file));
            }
        }
        return lines;
    }
}
