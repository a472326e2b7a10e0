package io.sealpoint.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.ArrayMode;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.core.fs.FileSystem;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;

/** No directory that Flink may write state to in clear goes unnamed. */
class DirectoryAuditTest {
    private static final String OURS = "io.sealpoint.flink.EncryptedCheckpointStorageFactory";

    @BeforeEach
    void start() {
        FlinkSetup.start();
    }

    @ParameterizedTest
    @CsvSource({
        "execution.checkpointing.dir", "state.checkpoints.dir", "execution.checkpointing.savepoint-dir", "state.savepoints.dir",
        "state.changelog.dstl.dfs.base-path", "dstl.dfs.base-path", "job-result-store.storage-path", "jobmanager.archive.fs.dir",
        "state.backend.forst.primary-dir", "application-result-store.storage-path", "taskmanager.network.hybrid-shuffle.remote.path"
    })
    void an_unsealed_directory_is_named_and_a_sealed_one_is_not(String option) {
        List<String> findings = findings(option, "s3://bucket/x");
        assertEquals(1, findings.size(), findings.toString());
        assertTrue(findings.get(0).startsWith(option + ": s3://bucket/x"), findings.get(0));
        assertEquals(List.of(), findings(option, "sealed+s3://bucket/x"));
    }

    @Test
    void the_storage_class_seals_checkpoints_and_savepoints_but_nothing_else() {
        assertEquals(List.of(), findings("state.checkpoint-storage", OURS, "state.checkpoints.dir", "s3://b/c", "state.savepoints.dir", "s3://b/s"));
        assertEquals(1, findings("execution.checkpointing.storage", OURS, "state.changelog.dstl.dfs.base-path", "s3://b/d").size());
    }

    @Test
    void high_availability_storage_matters_when_it_is_on() {
        String[] directory = {"high-availability.storageDir", "s3://bucket/ha"};
        assertEquals(0, findings(directory).size());
        assertEquals(0, findings("high-availability.type", "NONE", directory[0], directory[1]).size());
        assertEquals(1, findings("high-availability.type", "zookeeper", directory[0], directory[1]).size());
        assertEquals(1, findings("high-availability", "kubernetes", directory[0], directory[1]).size());
    }

    @Test
    void shortcuts_of_forst_are_no_directories() {
        assertEquals(List.of(), findings("state.backend.forst.primary-dir", "checkpoint-dir"));
        assertEquals(List.of(), findings("state.backend.forst.primary-dir", "local-dir"));
    }

    @Test
    void another_storage_class_is_named() {
        List<String> findings = findings("execution.checkpointing.storage", "filesystem", "execution.checkpointing.dir", "sealed+s3://b/c");
        assertEquals(1, findings.size(), findings.toString());
        assertTrue(findings.get(0).contains(OURS), findings.get(0));
    }

    @Test
    void required_sealing_stops_the_process() {
        String[] options = {"sealpoint.require-sealed", "true", "state.checkpoint-storage", OURS, "jobmanager.archive.fs.dir", "file:/archive"};
        IllegalConfigurationException error = assertThrows(IllegalConfigurationException.class, () -> FlinkSetup.start(options));
        assertTrue(error.getMessage().contains("jobmanager.archive.fs.dir: file:/archive"), error.getMessage());
        FlinkSetup.start("sealpoint.require-sealed", "false", options[2], options[3], options[4], options[5]);
        assertThrows(IllegalConfigurationException.class, () -> FlinkSetup.start("sealpoint.require-sealed", "yes"));
    }

    @Test
    void required_sealing_stops_a_job_that_changes_its_own_directories() {
        Configuration job = FlinkSetup.configuration(
                "sealpoint.require-sealed", "true", "state.checkpoints.dir", "file:/cp", "state.changelog.dstl.dfs.base-path", "file:/changelog");
        IllegalConfigurationException error = assertThrows(
                IllegalConfigurationException.class,
                () -> new EncryptedCheckpointStorageFactory().createFromConfig(job, getClass().getClassLoader()));
        assertTrue(error.getMessage().contains("file:/changelog") && !error.getMessage().contains("file:/cp"), error.getMessage());
    }

    @Test
    void sealing_that_is_required_cannot_be_turned_off_by_a_job() {
        Configuration job = FlinkSetup.configuration(
                "sealpoint.require-sealed", "true", "sealpoint.enabled", "false", "state.checkpoints.dir", "file:/cp");
        IllegalConfigurationException error = assertThrows(
                IllegalConfigurationException.class,
                () -> new EncryptedCheckpointStorageFactory().createFromConfig(job, getClass().getClassLoader()));
        assertTrue(error.getMessage().contains("sealpoint.enabled is false, but sealpoint.require-sealed is true"), error.getMessage());
    }

    @Test
    void sealing_is_required_by_the_environment_too() {
        Configuration configuration = FlinkSetup.configuration("sealpoint.require-sealed", "false", "jobmanager.archive.fs.dir", "file:/archive");
        DirectoryAudit.ofCluster(configuration, name -> Optional.empty()).run();
        DirectoryAudit required =
                DirectoryAudit.ofCluster(configuration, name -> Optional.of(name).filter("sealpoint.require-sealed"::equals).map(set -> "true"));
        assertThrows(IllegalConfigurationException.class, required::run);
    }

    @Test
    void sealing_that_the_cluster_requires_is_required_of_every_job() {
        FlinkSetup.start("sealpoint.require-sealed", "true");
        assertTrue(DirectoryAudit.ofJob(FlinkSetup.configuration("sealpoint.require-sealed", "false")).requireSealed());
        FlinkSetup.start("sealpoint.require-sealed", "false");
        assertTrue(DirectoryAudit.ofJob(FlinkSetup.configuration("sealpoint.require-sealed", "true")).requireSealed());
        assertFalse(DirectoryAudit.ofJob(FlinkSetup.configuration()).requireSealed());
    }

    @Test
    void options_that_java_reads_have_the_variables_that_the_native_library_knows() throws IOException {
        assertEquals("SEALPOINT_REQUIRE_SEALED", Sealpoint.variableName("sealpoint.require-sealed"));
        assertEquals("SEALPOINT_JNI_ARRAYS", Sealpoint.variableName("sealpoint.jni.arrays"));
        Function<String, Optional<String>> critical = key -> Optional.of(key).filter("sealpoint.jni.arrays"::equals).map(set -> "critical");
        Function<String, Optional<String>> direct = key -> Optional.of(key).filter("sealpoint.jni.arrays"::equals).map(set -> "direct");
        assertEquals(ArrayMode.CRITICAL, Sealpoint.arrays(critical, direct));
        assertEquals(ArrayMode.DIRECT, Sealpoint.arrays(key -> Optional.empty(), direct));
    }

    @Test
    void nothing_is_said_where_sealpoint_is_not_in_use() {
        Configuration configuration = new Configuration();
        configuration.setString("state.checkpoints.dir", "s3://bucket/x");
        FileSystem.initialize(configuration, null);
        DirectoryAudit.ofCluster(configuration).run();
    }

    private static List<String> findings(String... options) {
        return DirectoryAudit.ofCluster(FlinkSetup.configuration(options)).findings();
    }
}
