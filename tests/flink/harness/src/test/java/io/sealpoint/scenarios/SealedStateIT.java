package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Product;
import io.sealpoint.harness.Scan;
import io.sealpoint.harness.Storage;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;

/** The guarantee: all of it works, and no file that Flink persists is readable without the key. */
class SealedStateIT extends StateScenarios {

    @BeforeParameterizedClassInvocation
    static void start(Distribution flink) throws Exception {
        Path workDir = WorkDir.fresh(SealedStateIT.class, flink, "");
        start(flink, Storage.sealed(workDir.resolve("storage"), Product.required()), workDir.resolve("cluster"));
    }

    @Override
    void checkStored(Scan scan) {
        assertTrue(scan.sealed() > 0, "sealed files: " + scan);
        checkLeft(scan);
    }

    @Override
    void checkLeft(Scan scan) {
        assertEquals(List.of(), scan.withMarker(), "files with personal data in clear");
        assertEquals(List.of(), scan.unsealed(), "files that are not sealed");
    }
}
