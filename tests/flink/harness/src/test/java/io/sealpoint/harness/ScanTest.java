package io.sealpoint.harness;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ScanTest {

    @TempDir
    Path folder;

    @Test
    void a_marker_is_found_wherever_it_stands_and_however_it_is_encoded() throws IOException {
        Path start = write("start", "PII-MARKER rest".getBytes(StandardCharsets.US_ASCII));
        Path end = write("deep/end", "SEALPNT\n PPII-PII-MARKER".getBytes(StandardCharsets.US_ASCII));
        Path wide = write("wide", "x PII-MARKER".getBytes(StandardCharsets.UTF_16LE));
        write("none", "SEALPNT\n PII-MARKE".getBytes(StandardCharsets.US_ASCII));

        Scan scan = Scan.of(folder);

        assertEquals(List.of(end, start, wide), scan.withMarker().stream().sorted().toList());
        assertEquals(4, scan.files());
    }

    @Test
    void only_files_that_begin_with_the_magic_are_sealed() throws IOException {
        write("sealed", "SEALPNT\n...".getBytes(StandardCharsets.US_ASCII));
        write("empty", new byte[0]);
        Path late = write("late", " SEALPNT\n".getBytes(StandardCharsets.US_ASCII));
        Path cut = write("cut", "SEALPNT".getBytes(StandardCharsets.US_ASCII));

        Scan scan = Scan.of(folder);

        assertEquals(List.of(cut, late), scan.unsealed().stream().sorted().toList());
        assertEquals(1, scan.sealed());
    }

    private Path write(String name, byte[] content) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(file.getParent());
        return Files.write(file, content);
    }
}
