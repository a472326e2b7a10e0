package io.sealpoint.flink;

import io.sealpoint.TestKeys;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;

import java.io.IOException;

/** Flink's file systems, with Sealpoint among them, configured as a process does at its start. */
final class FlinkSetup {
    private FlinkSetup() {}

    /** A configuration that seals, plus these options. */
    static Configuration configuration(String... more) {
        Configuration configuration = new Configuration();
        TestKeys.options().forEach((key, value) -> configuration.setString("sealpoint." + key, value));
        for (int i = 0; i < more.length; i += 2) {
            configuration.setString(more[i], more[i + 1]);
        }
        return configuration;
    }

    static void start(String... more) {
        FileSystem.initialize(configuration(more), null);
    }

    static Path sealed(java.nio.file.Path file) {
        return new Path("sealed+file:" + file.toAbsolutePath());
    }

    static void write(Path file, byte[] content) throws IOException {
        try (FSDataOutputStream out = file.getFileSystem().create(file, FileSystem.WriteMode.NO_OVERWRITE)) {
            out.write(content);
        }
    }

    static byte[] read(Path file) throws IOException {
        try (FSDataInputStream in = file.getFileSystem().open(file)) {
            return in.readAllBytes();
        }
    }
}
