package io.sealpoint.harness;

import io.sealpoint.keyservice.ServerProcess;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/** MinIO, the real server, with one bucket: what Flink and the command-line tool reach it by, and what lies in it. */
public final class ObjectStore implements AutoCloseable {

    private static final String BUCKET = "checkpoints";
    private static final String USER = "scenario-user";
    private static final String PASSWORD = "scenario-password";
    private static final String REGION = "us-east-1";

    private final ServerProcess server;
    private final Path bucket;
    private final String endpoint;

    private ObjectStore(ServerProcess server, Path bucket, String endpoint) {
        this.server = server;
        this.bucket = bucket;
        this.endpoint = endpoint;
    }

    /** The folder keeps all that it has, and its log. */
    public static ObjectStore start(Path folder) throws IOException, InterruptedException {
        Path program = Distribution.home().resolve("../../../target/store-env/minio").normalize();
        if (!Files.isExecutable(program)) {
            throw new IllegalStateException(program + " is missing: run make store-env first");
        }
        Path drive = folder.resolve("drive");
        // A bucket is a folder of its drive.
        Path bucket = Files.createDirectories(drive.resolve(BUCKET));
        int port = Ports.free();
        ServerProcess server = new ServerProcess("minio", port, folder.resolve("server.log"), List.of(
                "env", "MINIO_ROOT_USER=" + USER, "MINIO_ROOT_PASSWORD=" + PASSWORD, "MINIO_BROWSER=off",
                program.toString(), "server", "--quiet", "--address", "127.0.0.1:" + port, drive.toString()));
        return new ObjectStore(server, bucket, "http://127.0.0.1:" + port);
    }

    public String uri(String key) {
        return "s3://" + BUCKET + "/" + key;
    }

    /** How Flink's S3 file systems are configured. */
    public Map<String, String> flinkSettings() {
        return Map.of(
                "s3.endpoint", endpoint,
                "s3.endpoint.region", REGION,
                "s3.path.style.access", "true",
                "s3.access-key", USER,
                "s3.secret-key", PASSWORD);
    }

    /** What the command-line tool needs. */
    public Map<String, String> environment() {
        return Map.of(
                "AWS_ACCESS_KEY_ID", USER, "AWS_SECRET_ACCESS_KEY", PASSWORD, "AWS_REGION", REGION,
                "AWS_ENDPOINT_URL", endpoint, "AWS_ALLOW_HTTP", "true");
    }

    /**
     * The keys of all objects, as they lie on the drive, without those that stand for directories: one deleted meanwhile may be
     * among them.
     */
    public Set<String> keys() throws IOException {
        Set<String> keys = new TreeSet<>();
        Files.walkFileTree(bucket, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
                // An object is a folder with its description in it, one whose key ends with a slash a folder of another name.
                if (file.endsWith("xl.meta") && !file.getParent().toString().endsWith("__XLDIR__")) {
                    keys.add(bucket.relativize(file.getParent()).toString());
                }
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult visitFileFailed(Path file, IOException deleted) {
                return FileVisitResult.CONTINUE;
            }

            @Override
            public FileVisitResult postVisitDirectory(Path folder, IOException deleted) {
                return FileVisitResult.CONTINUE;
            }
        });
        return keys;
    }

    /** Waits until no object has one of these keys, or is below one. */
    public void awaitGone(Set<String> wanted) throws Exception {
        Await.answer("objects to be deleted: " + wanted, () -> "", () -> {
            Set<String> keys = keys();
            boolean left = wanted.stream().anyMatch(gone -> keys.stream().anyMatch(key -> key.equals(gone) || key.startsWith(gone + "/")));
            return left ? Optional.empty() : Optional.of(true);
        });
    }

    @Override
    public void close() {
        server.close();
    }
}
