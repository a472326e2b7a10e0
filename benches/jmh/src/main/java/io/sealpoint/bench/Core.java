package io.sealpoint.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The figures of the native core, as {@code benches/core.rs} printed them: name, MB/s, MB/s of the peer, ratio. */
final class Core {

    private Core() {}

    /** Adds the two that have a goal. Without a file nothing was measured, and the goals say so. */
    static void read(Path printed, Samples samples) {
        if (!Files.exists(printed)) {
            return;
        }
        try {
            for (String line : Files.readAllLines(printed)) {
                ratio(line, "seal / raw in place", "core seal", samples);
                ratio(line, "open / raw out of place", "core open", samples);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot read " + printed, e);
        }
    }

    private static void ratio(String line, String name, String figure, Samples samples) {
        if (line.startsWith(name + " ")) {
            String[] columns = line.substring(name.length()).trim().split("\\s+");
            samples.add(figure, "", "ratio", Double.parseDouble(columns[2]));
        }
    }
}
