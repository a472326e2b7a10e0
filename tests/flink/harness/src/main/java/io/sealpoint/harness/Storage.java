package io.sealpoint.harness;

import io.sealpoint.keyservice.KeyService;
import io.sealpoint.keyservice.KeyringFile;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/** Where a cluster keeps its state, and how it is told: in clear, as Flink does by itself, or sealed. */
public final class Storage {

    private static final String METADATA = "_metadata";

    private final Path root;
    private final Product product;
    private final KeyService keys;

    private Storage(Path root, Product product, KeyService keys) throws IOException {
        this.root = Files.createDirectories(root);
        this.product = product;
        this.keys = keys;
        for (String folder : List.of("checkpoints", "savepoints", "changelog")) {
            Files.createDirectories(root.resolve(folder));
        }
    }

    /** The control: what a scan must find here, it must not find in sealed storage. */
    public static Storage plain(Path root) throws IOException {
        return new Storage(root, null, null);
    }

    /** With a keyring file, as most scenarios are not about keys. */
    public static Storage sealed(Path root, Product product) throws IOException, InterruptedException {
        return sealed(root, product, new KeyringFile(product, keyring(root)));
    }

    public static Storage sealed(Path root, Product product, KeyService keys) throws IOException {
        return new Storage(root, product, keys);
    }

    public boolean isSealed() {
        return product != null;
    }

    public Path root() {
        return root;
    }

    public Path checkpoints() {
        return root.resolve("checkpoints");
    }

    public Path savepoints() {
        return root.resolve("savepoints");
    }

    public Path changelog() {
        return root.resolve("changelog");
    }

    /** Empties it; the folders stay. */
    public void clear() throws IOException {
        for (Path folder : List.of(checkpoints(), savepoints(), changelog())) {
            Folders.clear(folder);
        }
    }

    /** Where the keyring file is, if that is what holds the key. */
    public Path keyring() {
        return keyring(root);
    }

    /** Beside the folder that is scanned, where an operator would keep it too: never with the data. */
    private static Path keyring(Path root) {
        return root.resolveSibling(root.getFileName() + ".keyring");
    }

    /** What processes that seal or open need in their environment. */
    public Map<String, String> environment() {
        return isSealed() ? keys.environment() : Map.of();
    }

    /** The jars that Flink needs for this storage. */
    public List<Path> jars() {
        return isSealed() ? List.of(product.jar()) : List.of();
    }

    /** A folder as the configuration names it. */
    public String uri(Path folder) {
        return (isSealed() ? "sealed+file://" : "file://") + folder;
    }

    /** The folder that a URI from Flink means. */
    public static Path path(String uri) {
        return Path.of(uri.replaceFirst("^(sealed\\+)?file:/*", "/"));
    }

    /** The configuration with which the command-line tool opens what lies here. */
    public Path toml() throws IOException {
        return Files.writeString(root.resolveSibling("sealpoint.toml"), keys.toml());
    }

    /** The metadata of a checkpoint or savepoint, as text in which names of files can be looked for. */
    public String metadata(String checkpoint) throws IOException, InterruptedException {
        Path file = path(checkpoint).resolve(METADATA);
        return isSealed()
                ? product.run(environment(), "open", "--config", toml().toString(), file.toString(), "-")
                : new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    }

    /** The files that a checkpoint or savepoint consists of, its metadata among them. Others may lie beside them. */
    public List<Path> filesOf(String checkpoint) throws IOException, InterruptedException {
        String named = metadata(checkpoint);
        Path own = path(checkpoint).resolve(METADATA);
        return Folders.files(root).stream()
                .filter(file -> file.equals(own) || !file.endsWith(METADATA) && named.contains(file.getFileName().toString()))
                .toList();
    }

    /** The newest sealed checkpoint that a job completed here; one that its cluster was killed over has metadata without an end. */
    public Path newestCheckpoint(Job job) throws IOException, InterruptedException {
        List<Path> newestFirst;
        try (Stream<Path> folders = Files.list(checkpoints().resolve(job.id()))) {
            newestFirst = folders.filter(folder -> folder.getFileName().toString().startsWith("chk-"))
                    .sorted(Comparator.comparingInt(Storage::number).reversed())
                    .toList();
        }
        for (Path folder : newestFirst) {
            String metadata = folder.resolve(METADATA).toString();
            if (product.ask(environment(), "open", "--verify", "--config", toml().toString(), metadata).status() == 0) {
                return folder;
            }
        }
        throw new IOException("job " + job.id() + " has no checkpoint at the moment");
    }

    /** Waits until Flink has deleted all checkpoints of a job but the newest; to be asked while none can complete. */
    public void awaitSubsumedCheckpointsGone(Job job) throws Exception {
        Path folder = checkpoints().resolve(job.id());
        Await.answer("the older checkpoints in " + folder + " to be deleted", () -> "", () -> {
            try (Stream<Path> folders = Files.list(folder)) {
                return folders.filter(entry -> entry.getFileName().toString().startsWith("chk-")).count() == 1 ? Optional.of(true) : Optional.empty();
            }
        });
    }

    private static int number(Path folder) {
        return Integer.parseInt(folder.getFileName().toString().substring("chk-".length()));
    }

    public Map<String, String> settings(Distribution flink) {
        Map<String, String> settings = new LinkedHashMap<>();
        boolean newNames = flink.isFlink2();
        settings.put(newNames ? "execution.checkpointing.dir" : "state.checkpoints.dir", uri(checkpoints()));
        settings.put(newNames ? "execution.checkpointing.savepoint-dir" : "state.savepoints.dir", uri(savepoints()));
        settings.put("dstl.dfs.base-path", uri(changelog()));
        if (isSealed()) {
            settings.put(
                    newNames ? "execution.checkpointing.storage" : "state.checkpoint-storage",
                    "io.sealpoint.flink.EncryptedCheckpointStorageFactory");
            keys.settings().forEach((key, value) -> settings.put("sealpoint." + key, value));
            settings.put("sealpoint.require-sealed", "true");
        } else {
            settings.put(newNames ? "execution.checkpointing.storage" : "state.checkpoint-storage", "filesystem");
        }
        return settings;
    }
}
