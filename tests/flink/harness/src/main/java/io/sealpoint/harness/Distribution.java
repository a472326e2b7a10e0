package io.sealpoint.harness;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** A Flink that the build assembled from its published jars: a version and its {@code lib/}. */
public record Distribution(String version, Path lib) {

    public static final Distribution FLINK_1_20 = at("1.20.5");
    public static final Distribution FLINK_2_3 = at("2.3.0");

    public static List<Distribution> all() {
        return List.of(FLINK_1_20, FLINK_2_3);
    }

    /** The folder that holds both distributions, the job and the harness: {@code tests/flink/target}. */
    public static Path home() {
        return Path.of(System.getProperty("sealpoint.flink.home", "tests/flink/target")).toAbsolutePath().normalize();
    }

    public static Path jobJar() {
        return built(home().resolve("job.jar"));
    }

    /** A folder for each plugin, as in Flink's {@code plugins/}. */
    Path plugins() {
        return built(lib.resolveSibling("plugins"));
    }

    /** Flink 2 renamed options; where a version still knows both names, the tests use those its users write. */
    public boolean isFlink2() {
        return version.startsWith("2.");
    }

    @Override
    public String toString() {
        return "Flink " + version;
    }

    private static Distribution at(String version) {
        return new Distribution(version, built(home().resolve("flink-" + version).resolve("lib")));
    }

    private static Path built(Path path) {
        if (!Files.exists(path)) {
            throw new IllegalStateException(path + " is missing: run mvn -f tests/flink/pom.xml package first");
        }
        return path;
    }
}
