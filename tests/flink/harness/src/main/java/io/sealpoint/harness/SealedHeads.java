package io.sealpoint.harness;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/** What {@code sealpoint inspect} reads in the heads of sealed files, without any key. */
public final class SealedHeads {

    private SealedHeads() {}

    /** The data keys that all files under a folder are sealed under. */
    public static Set<String> dataKeys(Product product, Path folder) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(product.cli().toString(), "inspect", "--json"));
        try (Stream<Path> files = Files.walk(folder)) {
            files.filter(file -> Files.isRegularFile(file) && size(file) > 0).forEach(file -> command.add(file.toString()));
        }
        Process process = new ProcessBuilder(command).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new IOException("sealpoint inspect failed: " + new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8));
        }
        Set<String> keys = new TreeSet<>();
        for (JsonNode head : Rest.JSON.readTree(output)) {
            keys.add(head.get("data_key").asText());
        }
        return keys;
    }

    private static long size(Path file) {
        try {
            return Files.size(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
