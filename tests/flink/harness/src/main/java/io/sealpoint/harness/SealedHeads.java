package io.sealpoint.harness;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** What {@code sealpoint inspect} reads in the heads of sealed files, without any key. */
public final class SealedHeads {

    private SealedHeads() {}

    /** The data keys that all files under a folder are sealed under. */
    public static Set<String> dataKeys(Product product, Path folder) throws IOException, InterruptedException {
        Set<String> keys = new TreeSet<>();
        for (JsonNode head : heads(product, folder)) {
            keys.add(head.get("data_key").asText());
        }
        return keys;
    }

    /** The versions of the key-encryption key that they are wrapped under. */
    public static Set<String> versions(Product product, Path folder) throws IOException, InterruptedException {
        Set<String> versions = new TreeSet<>();
        for (JsonNode head : heads(product, folder)) {
            head.get("slots").forEach(slot -> versions.add(slot.get("version").asText()));
        }
        return versions;
    }

    private static JsonNode heads(Product product, Path folder) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("inspect", "--json"));
        for (Path file : Folders.files(folder)) {
            if (Files.size(file) > 0) {
                command.add(file.toString());
            }
        }
        return Rest.JSON.readTree(product.run(command.toArray(String[]::new)));
    }

    /** A key and the version of it that wrapped a data key, as files name them. */
    public record Wrap(String key, String version) {}

    /** By what a file's data key is wrapped, where that is one key. */
    public static Wrap wrap(Product product, Path file) throws IOException, InterruptedException {
        JsonNode slots = Rest.JSON.readTree(product.run("inspect", "--json", file.toString())).get(0).get("slots");
        return new Wrap(slots.get(0).get("key").asText(), slots.get(0).get("version").asText());
    }
}
