package io.sealpoint.keyservice;

import com.fasterxml.jackson.databind.JsonNode;
import io.sealpoint.harness.Ports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Our own server of tests/kms in the place of Azure Key Vault, over TLS, with logins by a client secret. */
final class AzureKeyVault implements ServedKeyService, KeyVersions {

    private static final String KEY = "flink-state";
    private static final String API = "?api-version=7.4";

    private final ServerProcess server;
    private final Api control;
    private final Api api;
    private final String address;
    private final Path authority;
    private final JsonNode places;
    private final Path secretFile;
    private final String first;

    AzureKeyVault(Path folder) throws IOException, InterruptedException {
        Files.createDirectories(folder);
        int port = Ports.free();
        int controlPort = Ports.free();
        address = "https://localhost:" + port;
        authority = folder.resolve("ca.pem");
        // Its standard input is the leash's: it is killed, and does not end by itself.
        server = new ServerProcess("the Azure Key Vault of the tests", port, folder.resolve("server.log"), List.of(
                Tools.environment("bin/python3").toString(), "-uB", Tools.server("azure_key_vault.py").toString(), folder.toString(),
                "--port", String.valueOf(port), "--control-port", String.valueOf(controlPort), "--state", folder.resolve("state").toString()));
        try {
            control = new Api("http://127.0.0.1:" + controlPort);
            api = new Api(address, authority);
            places = Api.JSON.readTree(server.awaitLine("{"));
            secretFile = Tools.secret(folder.resolve("client-secret"), places.get("secret").asText());
            first = create();
        } catch (Throwable failure) {
            close();
            throw failure;
        }
    }

    @Override
    public String title() {
        return "a server of ours, in the place of Azure Key Vault";
    }

    @Override
    public Map<String, String> settings() {
        return KeyService.settings("azure",
                "ca-file", authority.toString(),
                "azure.vault-url", address,
                "azure.key-name", KEY,
                "azure.credential", "client-secret",
                "azure.tenant-id", places.get("tenant").asText(),
                "azure.client-id", places.get("client").asText(),
                "azure.client-secret-file", secretFile.toString(),
                "azure.authority-host", address);
    }

    @Override
    public Calls calls() throws IOException, InterruptedException {
        JsonNode counters = control.call("GET", "/control/counters", null);
        return new Calls(
                counters.path("wrapKey").asLong() + counters.path("encrypt").asLong(),
                counters.path("unwrapKey").asLong() + counters.path("decrypt").asLong());
    }

    @Override
    public ServerProcess server() {
        return server;
    }

    @Override
    public String takeKeyAway() throws IOException, InterruptedException {
        enable(false);
        return "the key is disabled, as by az keyvault key set-attributes --enabled false";
    }

    @Override
    public void giveKeyBack() throws IOException, InterruptedException {
        enable(true);
    }

    @Override
    public List<String> complaint() {
        return List.of(address, KEY, "enable");
    }

    @Override
    public String rotate() throws IOException, InterruptedException {
        create();
        return "a new version of the key, as by az keyvault key rotate";
    }

    @Override
    public String disableFirst() throws IOException, InterruptedException {
        enable(first, false);
        return "as by az keyvault key set-attributes --enabled false --version " + first;
    }

    @Override
    public void enableFirst() throws IOException, InterruptedException {
        enable(first, true);
    }

    @Override
    public List<String> complaintOfFirst() {
        return List.of("version " + first, "enable that version again", "sealpoint rewrap");
    }

    /** @return the version */
    private String create() throws IOException, InterruptedException {
        return version(call("POST", "/keys/" + KEY + "/create" + API, Map.of("kty", "RSA", "key_size", 2048)).get("key"));
    }

    private void enable(boolean enabled) throws IOException, InterruptedException {
        for (JsonNode version : call("GET", "/keys/" + KEY + "/versions" + API, null).get("value")) {
            enable(version(version), enabled);
        }
    }

    private void enable(String version, boolean enabled) throws IOException, InterruptedException {
        call("PATCH", "/keys/" + KEY + "/" + version + API, Map.of("attributes", Map.of("enabled", enabled)));
    }

    private static String version(JsonNode key) {
        return key.get("kid").asText().replaceAll(".*/", "");
    }

    private JsonNode call(String method, String path, Object body) throws IOException, InterruptedException {
        String token = api.form("/" + places.get("tenant").asText() + "/oauth2/v2.0/token", Map.of(
                        "grant_type", "client_credentials",
                        "client_id", places.get("client").asText(),
                        "client_secret", places.get("secret").asText(),
                        "scope", "https://localhost/.default"))
                .get("access_token")
                .asText();
        return api.call(method, path, body, "Authorization", "Bearer " + token);
    }
}
