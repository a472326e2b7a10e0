package io.sealpoint.harness;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;

/**
 * What a thief with the disk would find: every file under a folder, those that hold the marker of personal data in clear
 * (as ASCII or as UTF-16), and those that are not sealed files. A file that is still empty holds nothing and is neither.
 */
public record Scan(int files, long bytes, int sealed, List<Path> withMarker, List<Path> unsealed) {

    private static final String MARKER = "PII-MARKER";
    private static final byte[] SEALED = "SEALPNT\n".getBytes(StandardCharsets.US_ASCII);
    private static final List<byte[]> PATTERNS = List.of(
            MARKER.getBytes(StandardCharsets.US_ASCII),
            MARKER.getBytes(StandardCharsets.UTF_16BE),
            MARKER.getBytes(StandardCharsets.UTF_16LE));

    public static Scan of(Path folder) throws IOException {
        Collector found = new Collector();
        Files.walkFileTree(folder, found);
        return new Scan(found.files, found.bytes, found.sealed, List.copyOf(found.withMarker), List.copyOf(found.unsealed));
    }

    @Override
    public String toString() {
        return files + " files, " + bytes + " bytes, " + withMarker.size() + " with personal data in clear, " + sealed + " sealed";
    }

    private static final class Collector extends Folders.Tolerant {
        private int files;
        private long bytes;
        private int sealed;
        private final List<Path> withMarker = new ArrayList<>();
        private final List<Path> unsealed = new ArrayList<>();

        @Override
        public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
            byte[] content;
            try {
                content = Files.readAllBytes(file);
            } catch (NoSuchFileException gone) {
                // A running job deletes old checkpoints.
                return FileVisitResult.CONTINUE;
            }
            files++;
            bytes += content.length;
            if (PATTERNS.stream().anyMatch(pattern -> contains(content, pattern))) {
                withMarker.add(file);
            }
            if (startsWith(content, SEALED)) {
                sealed++;
            } else if (content.length > 0) {
                unsealed.add(file);
            }
            return FileVisitResult.CONTINUE;
        }
    }

    private static boolean startsWith(byte[] content, byte[] pattern) {
        return content.length >= pattern.length && matchesAt(content, 0, pattern);
    }

    private static boolean contains(byte[] content, byte[] pattern) {
        for (int at = 0; at <= content.length - pattern.length; at++) {
            if (content[at] == pattern[0] && matchesAt(content, at, pattern)) {
                return true;
            }
        }
        return false;
    }

    private static boolean matchesAt(byte[] content, int at, byte[] pattern) {
        for (int i = 0; i < pattern.length; i++) {
            if (content[at + i] != pattern[i]) {
                return false;
            }
        }
        return true;
    }
}
