package io.sealpoint.keyservice;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/**
 * SoftHSM for a PKCS#11 token. The module runs inside each process of the cluster; what dies is the token, whose files are moved
 * away. A module of OpenSC between the two writes down every call, to be counted.
 */
final class SoftHsm implements KeyService {

    private static final List<String> FOLDERS = List.of(
            "/usr/lib/softhsm", "/usr/lib64/softhsm", "/usr/lib/x86_64-linux-gnu/softhsm", "/usr/lib/x86_64-linux-gnu", "/usr/lib64",
            "/usr/lib64/pkcs11", "/usr/lib");
    private static final String TOKEN = "flink";
    private static final String KEY = "flink-state";
    private static final String PIN = "123456";

    private final Path tokens;
    private final Path pinFile;
    private final Path spied;
    private final Map<String, String> environment;

    SoftHsm(Path folder) throws IOException, InterruptedException {
        tokens = Files.createDirectories(folder.resolve("tokens"));
        spied = folder.resolve("calls.log");
        Path config = Files.writeString(folder.resolve("softhsm2.conf"),
                "directories.tokendir = " + tokens + "\nobjectstore.backend = file\nlog.level = ERROR\n");
        environment = Map.of(
                "SOFTHSM2_CONF", config.toString(),
                "PKCS11SPY", find("libsofthsm2.so", "softhsm2").toString(),
                "PKCS11SPY_OUTPUT", spied.toString());
        Tools.run(environment, "softhsm2-util", "--init-token", "--free", "--label", TOKEN, "--so-pin", "87654321", "--pin", PIN);
        Tools.run(environment, "pkcs11-tool", "--module", find("libsofthsm2.so", "softhsm2").toString(), "--token-label", TOKEN,
                "--login", "--pin", PIN, "--keygen", "--key-type", "AES:32", "--label", KEY, "--id", "01", "--sensitive");
        pinFile = Tools.secret(folder.resolve("pin"), PIN + "\n");
    }

    @Override
    public String title() {
        return "SoftHSM, in the place of a hardware token";
    }

    @Override
    public Map<String, String> settings() {
        return KeyService.settings("pkcs11",
                "pkcs11.module", find("pkcs11-spy.so", "opensc-pkcs11").toString(),
                "pkcs11.token-label", TOKEN,
                "pkcs11.key-label", KEY,
                "pkcs11.pin-file", pinFile.toString());
    }

    @Override
    public Map<String, String> environment() {
        return environment;
    }

    @Override
    public Calls calls() throws IOException {
        if (!Files.exists(spied)) {
            return new Calls(0, 0);
        }
        List<String> lines = new String(Files.readAllBytes(spied), StandardCharsets.ISO_8859_1).lines().toList();
        // Each operation begins once, and is then asked for its length and for its result.
        return new Calls(
                lines.stream().filter(line -> line.endsWith(": C_EncryptInit")).count(),
                lines.stream().filter(line -> line.endsWith(": C_DecryptInit")).count());
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
        Files.move(tokens, away());
        Files.createDirectory(tokens);
        return "the token is pulled out";
    }

    @Override
    public void giveKeyBack() throws IOException {
        Files.delete(tokens);
        Files.move(away(), tokens);
    }

    @Override
    public List<String> complaint() {
        return List.of(TOKEN, "token");
    }

    @Override
    public void close() {
        // The module is inside the cluster's own processes.
    }

    private Path away() {
        return tokens.resolveSibling("tokens-away");
    }

    private static Path find(String library, String debianPackage) {
        return FOLDERS.stream().map(folder -> Path.of(folder, library)).filter(Files::exists).findFirst().orElseThrow(
                () -> new IllegalStateException(library + " is missing: apt-get install " + debianPackage));
    }
}
