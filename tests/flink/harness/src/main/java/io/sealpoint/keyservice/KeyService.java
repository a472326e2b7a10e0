package io.sealpoint.keyservice;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * A key service on this machine, with a key in it: what a cluster is configured with, and what can befall it. Everything is done at
 * the server, by its own interface or its own tool, never through Sealpoint.
 */
public interface KeyService extends AutoCloseable {

    /** What has been asked of it so far: data keys wrapped, or drawn, and unwrapped. */
    record Calls(long wraps, long unwraps) {}

    /** As {@code KMS=...} and {@code kms.provider} name them. */
    List<String> NAMES = List.of("local", "vault", "aws", "azure", "gcp", "pkcs11");

    /** Starts the server, if there is one, and makes the key. The folder keeps all that it has, and its log. */
    static KeyService start(String name, Path folder) throws Exception {
        return switch (name) {
            case "local" -> new KeyringFile(folder);
            case "vault" -> new OpenBao(folder);
            case "aws" -> new LocalKms(folder);
            case "azure" -> new AzureKeyVault(folder);
            case "gcp" -> new GoogleKms(folder);
            case "pkcs11" -> new SoftHsm(folder);
            default -> throw new IllegalArgumentException("KMS=" + name + " is none of " + NAMES);
        };
    }

    /** For whoever reads along. */
    String title();

    /** Sealpoint's configuration, the keys without {@code sealpoint.} in front. */
    Map<String, String> settings();

    /** What every process needs in its environment besides. */
    default Map<String, String> environment() {
        return Map.of();
    }

    Calls calls() throws Exception;

    /** The server dies, by SIGKILL where it is a process. */
    void kill() throws Exception;

    /** It is back, at the same place with the same keys. */
    void revive() throws Exception;

    /** The key can no longer be used, in the way that is this service's own. @return what was done */
    String takeKeyAway() throws Exception;

    void giveKeyBack() throws Exception;

    /** What the error must say while the key is away: what is wrong, and what to do. */
    List<String> complaint();

    /** Ends it. */
    @Override
    void close();

    /** As {@code sealpoint.toml} has it. */
    default String toml() {
        return settings().entrySet().stream()
                .map(setting -> setting.getKey() + " = \"" + setting.getValue() + "\"\n")
                .collect(Collectors.joining());
    }

    /** Settings in the order given: key, value, key, value. */
    static Map<String, String> settings(String provider, String... more) {
        Map<String, String> settings = new LinkedHashMap<>();
        settings.put("kms.provider", provider);
        for (int i = 0; i < more.length; i += 2) {
            settings.put("kms." + more[i], more[i + 1]);
        }
        return settings;
    }

    /** What a count at the server is compared with: an error where the server was never asked how it counts. */
    static IOException uncounted(String what) {
        return new IOException(what + " does not tell how often it was asked");
    }
}
