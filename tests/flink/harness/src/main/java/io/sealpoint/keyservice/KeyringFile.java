package io.sealpoint.keyservice;

import io.sealpoint.harness.Product;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** No service at all but a keyring file; whoever has the file has the key. */
public final class KeyringFile implements KeyService, KeyVersions {

    private static final int CHECK_LENGTH = 8;

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

    /**
     * A keyring whose one key was made so long ago. The tool makes keys of now only, so the file is written here, with the check that binds
     * each key to its name, version and time.
     */
    public static KeyringFile aged(Product product, Path keyring, Duration age) throws Exception {
        byte[] material = new byte[32];
        new SecureRandom().nextBytes(material);
        long made = System.currentTimeMillis() - age.toMillis();
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(material, "HmacSHA256"));
        byte[] check = mac.doFinal(("sealpoint keyring 1\nsealpoint\n1\n" + made + "\n").getBytes(StandardCharsets.UTF_8));
        Base64.Encoder base64 = Base64.getEncoder();
        String text = String.format(
                "{\"format\":\"sealpoint-keyring\",\"version\":1,\"keys\":[{\"name\":\"sealpoint\",\"versions\":"
                        + "[{\"version\":1,\"created_at_ms\":%d,\"enabled\":true,\"material\":\"%s\",\"check\":\"%s\"}]}]}",
                made, base64.encodeToString(material), base64.encodeToString(Arrays.copyOf(check, CHECK_LENGTH)));
        Files.createDirectories(keyring.getParent());
        Files.createFile(keyring, PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rw-------")));
        Files.writeString(keyring, text);
        return new KeyringFile(product, keyring);
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
