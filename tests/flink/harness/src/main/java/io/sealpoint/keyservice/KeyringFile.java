package io.sealpoint.keyservice;

import io.sealpoint.harness.Product;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** No service at all but a keyring file; whoever has the file has the key. */
public final class KeyringFile implements KeyService, KeyVersions {

    private final Product product;
    private final Path keyring;

    KeyringFile(Path folder) throws IOException, InterruptedException {
        this(Product.required(), folder.resolve("keyring"));
    }

    /** @param keyring where it is, or is to be made */
    public KeyringFile(Product product, Path keyring) throws IOException, InterruptedException {
        this.product = product;
        this.keyring = keyring;
        if (!Files.exists(keyring)) {
            Files.createDirectories(keyring.getParent());
            product.createKeyring(keyring);
        }
    }

    @Override
    public String title() {
        return "a keyring file";
    }

    @Override
    public Map<String, String> settings() {
        return KeyService.settings("local", "local.keyring", keyring.toString());
    }

    @Override
    public Calls calls() throws IOException {
        throw KeyService.uncounted("a file");
    }

    @Override
    public void kill() throws IOException {
        takeKeyAway();
    }

    @Override
    public void revive() throws IOException {
        giveKeyBack();
    }

    @Override
    public String takeKeyAway() throws IOException {
        Files.move(keyring, away());
        return "the keyring is moved away";
    }

    @Override
    public void giveKeyBack() throws IOException {
        Files.move(away(), keyring);
    }

    @Override
    public List<String> complaint() {
        return List.of(keyring.toString(), "put it back");
    }

    @Override
    public String rotate() throws IOException, InterruptedException {
        return tool("rotate");
    }

    @Override
    public String disableFirst() throws IOException, InterruptedException {
        return tool("disable", "1");
    }

    @Override
    public void enableFirst() throws IOException, InterruptedException {
        tool("enable", "1");
    }

    private String tool(String command, String... more) throws IOException, InterruptedException {
        Stream<String> words = Stream.concat(Stream.of("keyring", command, keyring.toString()), Stream.of(more));
        product.run(words.toArray(String[]::new));
        return "sealpoint keyring " + command;
    }

    @Override
    public void close() {
        // There is nothing that runs.
    }

    private Path away() {
        return keyring.resolveSibling(keyring.getFileName() + "-taken-away");
    }
}
