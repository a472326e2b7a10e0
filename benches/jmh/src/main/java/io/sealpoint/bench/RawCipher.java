package io.sealpoint.bench;

import java.io.IOException;
import java.nio.file.Path;

/** Runs benches/raw.rs: MB/s of the bare cipher, as {@code raw} of no JDK. */
final class RawCipher {

    static final String NAME = "raw";

    private final Path binary;
    private final Samples samples;

    RawCipher(Path binary, Samples samples) {
        this.binary = binary;
        this.samples = samples;
    }

    void measure(boolean quick) throws IOException, InterruptedException {
        String output = Child.output(binary.toString(), quick ? "2" : "3", quick ? "300" : "500");
        for (String line : output.split("\n")) {
            String[] words = line.split(" ");
            samples.add(words[0], "", NAME, Double.parseDouble(words[1]));
        }
    }
}
