package io.sealpoint.keyservice;

import com.fasterxml.jackson.databind.JsonNode;
import io.sealpoint.harness.Ports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** Our own server of tests/kms in the place of Google Cloud KMS, called as a service account. */
final class GoogleKms implements ServedKeyService, KeyVersions {

    private static final String RING = "projects/acme-flink/locations/europe-west1/keyRings/flink";
    private static final String KEY = RING + "/cryptoKeys/state";
    private static final String ACCOUNT = "flink@acme-flink.iam.gserviceaccount.com";

    private final ServerProcess server;
    private final Api control;
    private final String endpoint;
    private final Path credentials;

    GoogleKms(Path folder) throws IOException, InterruptedException {
        Files.createDirectories(folder);
        int port = Ports.free();
        endpoint = "http://127.0.0.1:" + port;
        server = new ServerProcess("the Cloud KMS of the tests", port, folder.resolve("server.log"), List.of(
                Tools.environment("bin/python3").toString(), "-uB", Tools.server("gcp_kms.py").toString(),
                "--port", String.valueOf(port), "--state", folder.resolve("state").toString()));
        control = new Api(endpoint + "/control/");
        try {
            JsonNode account = control.call("POST", "service_account", Map.of("email", ACCOUNT));
            credentials = Tools.secret(folder.resolve("credentials.json"), account.toString());
            control.call("POST", "key", Map.of("name", KEY));
            for (String role : List.of("roles/cloudkms.cryptoKeyEncrypterDecrypter", "roles/cloudkms.viewer")) {
                control.call("POST", "grant", Map.of("principal", ACCOUNT, "resource", KEY, "role", role));
            }
        } catch (Throwable failure) {
            close();
            throw failure;
        }
    }

    @Override
    public String title() {
        return "a server of ours, in the place of Google Cloud KMS";
    }

    @Override
    public Map<String, String> settings() {
        return KeyService.settings("gcp",
                "gcp.project", "acme-flink",
                "gcp.location", "europe-west1",
                "gcp.key-ring", "flink",
                "gcp.key-name", "state",
                "gcp.endpoint", endpoint,
                "gcp.credentials-file", credentials.toString());
    }

    @Override
    public Calls calls() throws IOException, InterruptedException {
        JsonNode calls = control.call("POST", "calls", Map.of());
        return new Calls(calls.path("encrypt").asLong(), calls.path("decrypt").asLong());
    }

    @Override
    public ServerProcess server() {
        return server;
    }

    @Override
    public String takeKeyAway() throws IOException, InterruptedException {
        return "the key's only version is disabled: " + disableFirst();
    }

    @Override
    public void giveKeyBack() throws IOException, InterruptedException {
        enableFirst();
    }

    @Override
    public String rotate() throws IOException, InterruptedException {
        control.call("POST", "rotate", Map.of("name", KEY));
        return "a new primary version, as by gcloud kms keys versions create --primary";
    }

    @Override
    public String disableFirst() throws IOException, InterruptedException {
        control.call("POST", "version", Map.of("name", KEY + "/cryptoKeyVersions/1", "action", "disable"));
        return "as by gcloud kms keys versions disable 1";
    }

    @Override
    public void enableFirst() throws IOException, InterruptedException {
        control.call("POST", "version", Map.of("name", KEY + "/cryptoKeyVersions/1", "action", "enable"));
    }

    @Override
    public List<String> complaint() {
        return List.of(KEY, "enable");
    }
}
