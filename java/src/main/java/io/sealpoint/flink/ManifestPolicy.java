package io.sealpoint.flink;

import io.sealpoint.ErrorCode;
import io.sealpoint.SealpointException;

import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;

import java.io.IOException;
import java.util.Locale;

/** What the JobManager does about the manifests of checkpoints: {@code sealpoint.checkpoint.manifest}, from lenient to strict. */
enum ManifestPolicy {
    NONE,
    /** One is written, and compared where there is one. */
    WRITE,
    /** The same, and nothing is restored that has none. */
    REQUIRE;

    static final String OPTION = Sealpoint.OPTION_PREFIX + "checkpoint.manifest";

    static ManifestPolicy parse(String value) {
        for (ManifestPolicy policy : values()) {
            if (policy.name().toLowerCase(Locale.ROOT).equals(value)) {
                return policy;
            }
        }
        throw new IllegalConfigurationException(OPTION + " is '" + value + "'; it must be none, write or require");
    }

    ManifestPolicy orStricter(ManifestPolicy other) {
        return compareTo(other) >= 0 ? this : other;
    }

    /** A checkpoint is there as a whole, and about to complete. */
    void completing(Path directory) throws IOException {
        if (this != NONE) {
            CheckpointNews.manifest(directory, CheckpointNews.WRITE);
        }
    }

    /** A job is about to be restored from here. */
    void restoring(CompletedCheckpointStorageLocation checkpoint) throws IOException {
        Path directory = new Path(checkpoint.getExternalPointer());
        if (this == NONE) {
            return;
        }
        if (SealedPaths.isSealed(directory)) {
            CheckpointNews.manifest(directory, this == REQUIRE ? CheckpointNews.REQUIRE : CheckpointNews.COMPARE);
        } else if (this == REQUIRE) {
            throw missing(directory);
        }
    }

    static SealpointException missing(Path directory) {
        return SealpointException.of(
                ErrorCode.NOT_FOUND.number(),
                directory + " is not restored: it has no manifest, and " + OPTION + " is require. If it had one, somebody deleted it. If it was"
                        + " never given one, and you trust what lies there, `sealpoint verify --write-manifest` gives it one");
    }
}
