package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Scan;
import io.sealpoint.harness.Storage;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.BeforeParameterizedClassInvocation;

/**
 * The control: the same scenarios with Flink as it is. Here the scan must find personal data, or finding none in sealed storage
 * would prove nothing; and what fails here is Flink's own fault.
 */
@Tag("control")
class PlainControlIT extends StateScenarios {

    @BeforeParameterizedClassInvocation
    static void start(Distribution flink) throws Exception {
        Path workDir = WorkDir.fresh(PlainControlIT.class, flink, "");
        start(flink, Storage.plain(workDir.resolve("storage")), workDir.resolve("cluster"));
    }

    @Override
    void checkStored(Scan scan) {
        assertFalse(scan.withMarker().isEmpty(), "personal data in clear: " + scan);
        assertEquals(0, scan.sealed(), "sealed files in plain storage: " + scan);
    }

    @Override
    void checkWhole(String checkpoint, boolean whole) {
        // Flink has nothing that could be asked.
    }

    @Override
    void checkLeft(Scan scan) {
        // In clear or gone: both are right.
    }
}
