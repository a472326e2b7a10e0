package io.sealpoint.flink;

import static io.sealpoint.flink.FlinkSetup.sealed;
import static io.sealpoint.flink.FlinkSetup.write;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.NotSealedException;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.Path;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.state.CheckpointStateOutputStream;
import org.apache.flink.runtime.state.CheckpointStorageAccess;
import org.apache.flink.runtime.state.CheckpointStorageLocation;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointStreamFactory;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation;
import org.apache.flink.runtime.state.filesystem.RelativeFileStateHandle;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;

/** The checkpoint storage as the JobManager and TaskManagers use it. */
class CheckpointStorageTest {
    private static final JobID JOB = new JobID(1, 2);

    @TempDir java.nio.file.Path directory;

    private Configuration configuration;

    @BeforeEach
    void start() {
        configuration = FlinkSetup.configuration("state.checkpoints.dir", "file:" + directory + "/cp", "state.savepoints.dir", "file:" + directory + "/sp");
        FlinkSetup.start();
    }

    @Test
    void a_plain_directory_is_sealed() throws IOException {
        CheckpointStorageAccess access = access(configuration);
        access.initializeBaseLocationsForCheckpoint();
        FsCheckpointStorageLocation checkpoint = (FsCheckpointStorageLocation) access.initializeLocationForCheckpoint(1);
        assertEquals("sealed+file:" + directory + "/cp/" + JOB + "/chk-1", checkpoint.getCheckpointDirectory().toString());
        FsCheckpointStorageLocation savepoint = (FsCheckpointStorageLocation) access.initializeLocationForSavepoint(2, null);
        assertTrue(savepoint.getCheckpointDirectory().toString().startsWith("sealed+file:" + directory + "/sp/savepoint-"));
        FsCheckpointStorageLocation elsewhere =
                (FsCheckpointStorageLocation) access.initializeLocationForSavepoint(3, "file:" + directory + "/elsewhere");
        assertTrue(elsewhere.getCheckpointDirectory().toString().startsWith("sealed+file:" + directory + "/elsewhere/savepoint-"));
    }

    @Test
    void task_managers_get_exactly_flinks_class() throws IOException {
        CheckpointStreamFactory factory =
                access(configuration).resolveCheckpointStorageLocation(1, CheckpointStorageLocationReference.getDefault());
        assertEquals(FsCheckpointStorageLocation.class, factory.getClass());
    }

    @Test
    void a_task_managers_state_is_sealed_wherever_the_reference_leads() throws IOException {
        CheckpointStorageAccess jobManager = access(configuration);
        CheckpointStorageLocation savepoint = jobManager.initializeLocationForSavepoint(1, "file:" + directory + "/there");
        CheckpointStreamFactory factory = access(configuration).resolveCheckpointStorageLocation(1, savepoint.getLocationReference());
        CheckpointStateOutputStream out = factory.createCheckpointStateOutputStream(CheckpointedStateScope.EXCLUSIVE);
        out.write(new byte[100_000]);
        StreamStateHandle handle = out.closeAndGetHandle();
        Path file = ((FileStateHandle) handle).getFilePath();
        assertTrue(SealedPaths.isSealed(file), file.toString());
        assertTrue(Files.readString(java.nio.file.Path.of(file.getPath()), java.nio.charset.StandardCharsets.ISO_8859_1).startsWith("SEALPNT"));
        try (FSDataInputStream in = handle.openInputStream()) {
            assertEquals(100_000, in.readAllBytes().length);
        }
    }

    @Test
    void a_checkpoint_with_sealed_state_completes_and_resolves_by_either_name() throws IOException {
        CheckpointStorageAccess access = access(configuration);
        access.initializeBaseLocationsForCheckpoint();
        CheckpointStorageLocation location = access.initializeLocationForCheckpoint(7);
        Path chk = ((FsCheckpointStorageLocation) location).getCheckpointDirectory();
        Path relative = new Path(chk, "2d931510-d99f-494a-8c67-87feb05e1594");
        write(relative, new byte[10]);
        CompletedCheckpointStorageLocation completed = FlinkSetup.complete(
                location,
                7,
                new FileStateHandle(sealed(directory.resolve("cp/state")), 10),
                new RelativeFileStateHandle(relative, relative.getName(), 10));
        assertEquals(chk.toString(), completed.getExternalPointer());
        for (String pointer : new String[] {chk.toString(), chk.getPath(), "file:" + chk.getPath(), "file:" + chk.getPath() + "/_metadata"}) {
            CompletedCheckpointStorageLocation resolved = access.resolveCheckpoint(pointer);
            assertEquals(chk.toString(), resolved.getExternalPointer(), pointer);
            try (FSDataInputStream in = resolved.getMetadataHandle().openInputStream()) {
                assertEquals(7, Checkpoints.loadCheckpointMetadata(new java.io.DataInputStream(in), getClass().getClassLoader(), chk.toString())
                        .getCheckpointId());
            }
        }
    }

    @Test
    void a_checkpoint_with_unsealed_state_never_completes() throws IOException {
        CheckpointStorageAccess access = access(configuration);
        access.initializeBaseLocationsForCheckpoint();
        CheckpointStorageLocation location = access.initializeLocationForCheckpoint(8);
        String plain = "file:" + directory + "/cp/clear";
        IOException error = assertThrows(
                IOException.class,
                () -> FlinkSetup.complete(location, 8, new FileStateHandle(sealed(directory.resolve("x")), 1), new FileStateHandle(new Path(plain), 1)));
        assertTrue(error.getMessage().contains(plain) && error.getMessage().contains("refuses checkpoint 8"), error.getMessage());
        Path metadata = ((FsCheckpointStorageLocation) location).getMetadataFilePath();
        assertFalse(metadata.getFileSystem().exists(metadata));
        assertThrows(IOException.class, () -> access.resolveCheckpoint(metadata.getParent().toString()));
    }

    @Test
    void a_plaintext_savepoint_can_be_restored_under_its_plain_name_only() throws IOException {
        java.nio.file.Path savepoint = Files.createDirectories(directory.resolve("old"));
        Files.write(savepoint.resolve("_metadata"), new byte[100]);
        CheckpointStorageAccess access = access(configuration);
        assertEquals("file:" + savepoint, access.resolveCheckpoint("file:" + savepoint).getExternalPointer());
        NotSealedException error = assertThrows(NotSealedException.class, () -> access.resolveCheckpoint("sealed+file:" + savepoint));
        assertTrue(error.getMessage().contains(savepoint + "/_metadata"), error.getMessage());
        assertThrows(IOException.class, () -> access.resolveCheckpoint("file:" + directory + "/nothing-here"));
    }

    @Test
    void a_plaintext_savepoint_is_refused_where_sealing_is_required_unless_the_job_says_otherwise() throws IOException {
        String savepoint = "file:" + Files.createDirectories(directory.resolve("old"));
        Files.write(directory.resolve("old/_metadata"), new byte[100]);
        FlinkSetup.start("sealpoint.require-sealed", "true");
        for (String said : new String[] {"true", "false"}) {
            configuration.setString("sealpoint.require-sealed", said);
            CheckpointStorageAccess strict = access(configuration);
            NotSealedException error = assertThrows(NotSealedException.class, () -> strict.resolveCheckpoint(savepoint));
            assertTrue(error.getMessage().contains(savepoint) && error.getMessage().contains("sealpoint.restore-plaintext"), error.getMessage());
        }
        assertEquals(savepoint, storage(configuration).resolveCheckpoint(savepoint).getExternalPointer(), "to be disposed of");
        configuration.setString("sealpoint.restore-plaintext", "true");
        CheckpointStorageAccess lenient = access(configuration);
        assertEquals(savepoint, lenient.resolveCheckpoint(savepoint).getExternalPointer());
        assertThrows(NotSealedException.class, () -> lenient.resolveCheckpoint("sealed+" + savepoint));
    }

    @Test
    void sealing_can_be_turned_off_in_so_many_words() throws IOException {
        configuration.setString("sealpoint.enabled", "false");
        FsCheckpointStorageLocation location = (FsCheckpointStorageLocation) access(configuration).initializeLocationForCheckpoint(1);
        assertEquals("file:" + directory + "/cp/" + JOB + "/chk-1", location.getCheckpointDirectory().toString());
        assertEquals(FsCheckpointStorageLocation.class, location.getClass());
    }

    @Test
    void no_directory_or_one_that_cannot_be_sealed_is_an_error() {
        assertThrows(IllegalConfigurationException.class, () -> storage(FlinkSetup.configuration()));
        IllegalConfigurationException error = assertThrows(
                IllegalConfigurationException.class, () -> storage(FlinkSetup.configuration("state.checkpoints.dir", "ftp://host/cp")));
        assertTrue(error.getMessage().contains("ftp"), error.getMessage());
    }

    private static EncryptedCheckpointStorage storage(Configuration configuration) {
        return new EncryptedCheckpointStorageFactory().createFromConfig(configuration, CheckpointStorageTest.class.getClassLoader());
    }

    private static CheckpointStorageAccess access(Configuration configuration) throws IOException {
        return storage(configuration).createCheckpointStorage(JOB);
    }
}
