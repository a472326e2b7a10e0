package io.sealpoint.scenarios;

import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Folders;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Where a test class keeps its clusters: fresh at the start, left in place afterwards for whoever looks for the logs. */
final class WorkDir {

    private WorkDir() {}

    static Path fresh(Class<?> test, Distribution flink, String more) throws IOException {
        Path folder = Distribution.home().resolve("clusters").resolve(test.getSimpleName()).resolve(flink.version()).resolve(more);
        Folders.clear(folder);
        return Files.createDirectories(folder);
    }
}
