package io.sealpoint.harness;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** What {@code sealpoint inspect} reads in the heads of sealed files, without any key. */
public final class SealedHeads {

    private SealedHeads() {}

    /** The data keys that files are sealed under. */
    public static Set<String> dataKeys(Product product, Collection<Path> files) throws IOException, InterruptedException {
        Set<String> keys = new TreeSet<>();
        for (JsonNode head : heads(product, files)) {
            keys.add(head.get("data_key").asText());
        }
        return keys;
    }

    /** The versions of the key-encryption key by which all files under a folder are wrapped. */
    public static Set<String> versions(Product product, Path folder) throws IOException, InterruptedException {
        Set<String> versions = new TreeSet<>();
        for (JsonNode head : heads(product, Folders.files(folder))) {
            head.get("slots").forEach(slot -> versions.add(slot.get("version").asText()));
        }
        return versions;
    }

    private static JsonNode heads(Product product, Collection<Path> files) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("inspect", "--json"));
        files.stream().filter(file -> file.toFile().length() > 0).forEach(file -> command.add(file.toString()));
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
