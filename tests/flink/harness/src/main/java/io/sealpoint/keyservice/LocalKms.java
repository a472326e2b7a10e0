package io.sealpoint.keyservice;

import com.fasterxml.jackson.databind.JsonNode;
import io.sealpoint.harness.Ports;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;

/** local-kms for AWS KMS: it keeps its keys on disk, and refuses a disabled key. It checks no signature and no permission. */
final class LocalKms implements ServedKeyService {

    private static final String REGION = "eu-west-1";

    private final ServerProcess server;
    private final Api api;
    private final String endpoint;
    private final String keyArn;
    private final Path credentials;

    LocalKms(Path folder) throws IOException, InterruptedException {
        Files.createDirectories(folder);
        int port = Ports.free();
        endpoint = "http://127.0.0.1:" + port;
        server = new ServerProcess("local-kms", port, folder.resolve("server.log"),
                List.of(Tools.environment("bin/local-kms").toString(), String.valueOf(port), folder.resolve("data").toString()));
        api = new Api(endpoint);
        credentials = Tools.secret(folder.resolve("credentials"), """
                [default]
                aws_access_key_id = AKIAIOSFODNN7EXAMPLE
                aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
                """);
        try {
            keyArn = call("CreateKey", Map.of()).get("KeyMetadata").get("Arn").asText();
            call("CreateAlias", Map.of("AliasName", "alias/flink-state", "TargetKeyId", keyArn));
        } catch (Throwable failure) {
            close();
            throw failure;
        }
    }

    @Override
    public String title() {
        return "local-kms, in the place of AWS KMS";
    }

    @Override
    public Map<String, String> settings() {
        return KeyService.settings("aws",
                "aws.region", REGION, "aws.key-id", keyArn, "aws.endpoint", endpoint, "aws.credentials-file", credentials.toString());
    }

    /** By its log. */
    @Override
    public Calls calls() throws IOException {
        List<String> lines = server.log().lines().toList();
        return new Calls(
                lines.stream().filter(line -> line.matches(".*(GenerateDataKey|Encryption) called.*|.*Data key generated.*|.*TrentService\\.(GenerateDataKey|Encrypt).*")).count(),
                lines.stream().filter(line -> line.matches(".*Decryption called.*|.*TrentService\\.Decrypt.*")).count());
    }

    @Override
    public ServerProcess server() {
        return server;
    }

    @Override
    public String takeKeyAway() throws IOException, InterruptedException {
        call("DisableKey", Map.of("KeyId", keyArn));
        return "the key is disabled, as by aws kms disable-key";
    }

    @Override
    public void giveKeyBack() throws IOException, InterruptedException {
        call("EnableKey", Map.of("KeyId", keyArn));
    }

    @Override
    public List<String> complaint() {
        return List.of(keyArn, "enable");
    }

    private JsonNode call(String action, Map<String, ?> body) throws IOException, InterruptedException {
        return api.call("POST", "/", body, "Content-Type", "application/x-amz-json-1.1", "X-Amz-Target", "TrentService." + action,
                "Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260101/" + REGION + "/kms/aws4_request, Signature=0");
    }
}
