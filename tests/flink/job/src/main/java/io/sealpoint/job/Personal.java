package io.sealpoint.job;

/**
 * Personal data that a scan can recognise and that can be recomputed to be checked. Everything is ASCII, so that Flink's
 * serializers write it byte for byte, and the filler does not compress away.
 */
final class Personal {

    private static final String MARKER = "PII-MARKER";
    private static final int HISTORY_LINES = 14;
    private static final int HISTORY_LINE_CHARS = 60;
    private static final char[] LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-".toCharArray();

    private Personal() {}

    static String name(long customer) {
        return "Erika Mustermann " + MARKER + "-" + customer;
    }

    static String email(long customer) {
        return "erika." + customer + "@" + MARKER + ".example";
    }

    static String iban(long customer) {
        return "DE02-" + MARKER + "-" + String.format("%018d", customer);
    }

    /** About a kilobyte, all of it new with every order, a marker in every line. */
    static String history(long customer, long orders) {
        StringBuilder text = new StringBuilder(HISTORY_LINES * (HISTORY_LINE_CHARS + MARKER.length() + 2));
        long seed = mix(customer * 1_000_003 + orders);
        for (int line = 0; line < HISTORY_LINES; line++) {
            text.append(MARKER).append(' ');
            for (int i = 0; i < HISTORY_LINE_CHARS; i++) {
                if (i % 10 == 0) {
                    seed = mix(seed + i);
                }
                text.append(LETTERS[(int) (seed >>> (6 * (i % 10))) & 63]);
            }
            text.append('\n');
        }
        return text.toString();
    }

    /** A line of the ledger that each subtask keeps in operator state. */
    static String ledgerEntry(int index) {
        return index + " ledger " + MARKER + " " + Long.toHexString(mix(index)) + " " + iban(index);
    }

    /** The finalizer of SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014). */
    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xbf58476d1ce4e5b9L;
        z = (z ^ (z >>> 27)) * 0x94d049bb133111ebL;
        return z ^ (z >>> 31);
    }
}
