package io.sealpoint.harness;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Flink's REST interface: JSON in, JSON out, an exception with the server's own words for anything but success. */
final class Rest {

    static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final URI base;

    Rest(int port) {
        base = URI.create("http://127.0.0.1:" + port);
    }

    JsonNode get(String path) throws IOException, InterruptedException {
        return send(request(path).GET());
    }

    JsonNode post(String path, Object body) throws IOException, InterruptedException {
        return send(request(path)
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofByteArray(JSON.writeValueAsBytes(body))));
    }

    JsonNode patch(String path) throws IOException, InterruptedException {
        return send(request(path).method("PATCH", BodyPublishers.noBody()));
    }

    /** The id under which the server keeps the jar. */
    String uploadJar(Path jar) throws IOException, InterruptedException {
        String boundary = "----sealpoint";
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        body.write(("--" + boundary + "\r\nContent-Disposition: form-data; name=\"jarfile\"; filename=\"" + jar.getFileName()
                        + "\"\r\nContent-Type: application/java-archive\r\n\r\n")
                .getBytes(StandardCharsets.US_ASCII));
        body.write(Files.readAllBytes(jar));
        body.write(("\r\n--" + boundary + "--\r\n").getBytes(StandardCharsets.US_ASCII));
        JsonNode answer = send(request("/jars/upload")
                .header("Content-Type", "multipart/form-data; boundary=" + boundary)
                .POST(BodyPublishers.ofByteArray(body.toByteArray())));
        return Path.of(answer.get("filename").asText()).getFileName().toString();
    }

    private HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(base.resolve(path)).timeout(Await.LIMIT);
    }

    private JsonNode send(HttpRequest.Builder builder) throws IOException, InterruptedException {
        HttpRequest request = builder.build();
        HttpResponse<String> response = http.send(request, BodyHandlers.ofString());
        JsonNode body = response.body().isBlank() ? JSON.createObjectNode() : JSON.readTree(response.body());
        if (response.statusCode() >= 300) {
            throw new RestException(request.method() + " " + request.uri().getPath(), response.statusCode(), body);
        }
        return body;
    }

    /** A refusal; the message holds every error the server gave, stack traces included. */
    static final class RestException extends IOException {
        private static final long serialVersionUID = 1L;

        RestException(String request, int status, JsonNode body) {
            super(request + " answered " + status + ": " + words(body));
        }

        private static String words(JsonNode body) {
            StringBuilder words = new StringBuilder();
            body.path("errors").forEach(error -> words.append(error.asText()).append('\n'));
            return words.isEmpty() ? body.toString() : words.toString();
        }
    }
}
