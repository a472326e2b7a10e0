package io.sealpoint.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FileSystem;
import org.junit.jupiter.api.Test;

/** A process that seals watches its jobs' checkpoints; the scenarios on clusters see it speak. */
class CheckpointWatchTest {
    private static final String FACTORY_CLASS = "metrics.reporter.sealpoint.factory.class";

    @Test
    void the_watch_joins_whatever_reporters_there_are() {
        Configuration none = FlinkSetup.configuration();
        FileSystem.initialize(none, null);
        assertEquals(CheckpointWatch.Factory.class.getName(), none.toMap().get(FACTORY_CLASS));
        assertFalse(none.toMap().containsKey("metrics.reporters"));
        Configuration some = FlinkSetup.configuration("metrics.reporters", "prom");
        FileSystem.initialize(some, null);
        FileSystem.initialize(some, null);
        assertEquals("prom,sealpoint", some.toMap().get("metrics.reporters"));
    }

    @Test
    void a_process_that_does_not_seal_is_left_alone() {
        Configuration configuration = new Configuration();
        FileSystem.initialize(configuration, null);
        assertEquals(new Configuration(), configuration);
    }
}
