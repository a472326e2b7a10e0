package io.sealpoint.flink;

import static io.sealpoint.flink.FlinkSetup.sealed;
import static io.sealpoint.flink.FlinkSetup.write;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.IntegrityException;
import io.sealpoint.TestKeys;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.runtime.checkpoint.filemerging.LogicalFile.LogicalFileId;
import org.apache.flink.runtime.state.CheckpointStorageAccess;
import org.apache.flink.runtime.state.CheckpointStorageLocation;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.CompletedCheckpointStorageLocation;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.apache.flink.runtime.state.filemerging.SegmentFileStateHandle;
import org.apache.flink.runtime.state.filesystem.FileStateHandle;
import org.apache.flink.runtime.state.filesystem.RelativeFileStateHandle;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.UUID;

/** The manifest of a checkpoint, as the JobManager writes and compares it. */
class CheckpointManifestTest {
    private static final JobID JOB = new JobID(1, 2);
    private static final int LENGTH = 70_000;

    @TempDir Path directory;

    @BeforeEach
    void start() {
        FlinkSetup.start();
    }

    @Test
    void the_tool_accepts_what_the_job_manager_writes() throws Exception {
        Checkpoint checkpoint = complete("write", 1);
        assertEquals(0, verify(checkpoint.directory));
        seal(checkpoint.shared, 1);
        assertEquals(3, verify(checkpoint.directory));
    }

    @Test
    void a_file_replaced_by_another_of_its_name_is_refused_and_named() throws IOException {
        Checkpoint checkpoint = complete("write", 1);
        for (Path file : new Path[] {checkpoint.shared, checkpoint.exclusive, checkpoint.merged}) {
            byte[] good = Files.readAllBytes(file);
            seal(file, 1);
            for (String policy : new String[] {"write", "require"}) {
                IntegrityException error = assertThrows(IntegrityException.class, () -> restore(policy, checkpoint.directory));
                assertTrue(error.getMessage().contains(file + ": it is another sealed file"), error.getMessage());
                assertTrue(error.getMessage().contains("put the right ones back"), error.getMessage());
            }
            restore("none", checkpoint.directory);
            Files.write(file, good);
            restore("require", checkpoint.directory);
        }
    }

    @Test
    void a_file_that_was_cut_or_is_missing_is_refused_and_named() throws IOException {
        Checkpoint checkpoint = complete("require", 1);
        byte[] good = Files.readAllBytes(checkpoint.shared);
        Files.write(checkpoint.shared, java.util.Arrays.copyOf(good, good.length - 1));
        IOException cut = assertThrows(IntegrityException.class, () -> restore("write", checkpoint.directory));
        assertTrue(cut.getMessage().contains(checkpoint.shared.toString()), cut.getMessage());
        Files.delete(checkpoint.shared);
        IOException missing = assertThrows(IOException.class, () -> restore("write", checkpoint.directory));
        assertTrue(missing.getMessage().contains(checkpoint.shared.toString()), missing.getMessage());
    }

    @Test
    void metadata_and_manifests_of_other_checkpoints_are_refused() throws IOException {
        Checkpoint one = complete("write", 1);
        Checkpoint two = complete("write", 2);
        Path metadata = two.directory.resolve("_metadata");
        byte[] good = Files.readAllBytes(metadata);
        Files.write(metadata, Files.readAllBytes(one.directory.resolve("_metadata")));
        IOException rolledBack = assertThrows(IntegrityException.class, () -> restore("write", two.directory));
        assertTrue(rolledBack.getMessage().contains(metadata + ": it is another sealed file"), rolledBack.getMessage());
        Files.write(metadata, good);
        Files.copy(one.manifest(), two.manifest(), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        assertThrows(IntegrityException.class, () -> restore("write", two.directory));
        Files.write(two.manifest(), "in clear".getBytes(StandardCharsets.US_ASCII));
        assertThrows(IOException.class, () -> restore("write", two.directory));
        // Sealed by this very tenant, as a state file.
        Path state = directory.resolve(UUID.randomUUID().toString());
        write(sealed(state), new byte[20]);
        Files.copy(state, two.manifest(), java.nio.file.StandardCopyOption.REPLACE_EXISTING);
        assertThrows(IntegrityException.class, () -> restore("write", two.directory));
    }

    @Test
    void without_a_manifest_only_require_refuses() throws IOException {
        Checkpoint checkpoint = complete("none", 1);
        assertFalse(Files.exists(checkpoint.manifest()));
        restore("none", checkpoint.directory);
        restore("write", checkpoint.directory);
        IOException error = assertThrows(IOException.class, () -> restore("require", checkpoint.directory));
        assertTrue(error.getMessage().contains(checkpoint.directory.toString()), error.getMessage());
        assertTrue(error.getMessage().contains("sealpoint verify --write-manifest"), error.getMessage());
        Path plain = Files.createDirectory(directory.resolve("plain"));
        Files.write(plain.resolve("_metadata"), new byte[10]);
        restore("write", plain);
        assertThrows(IOException.class, () -> restore("require", plain));
    }

    /** What was seen of a shared file when it was new is what later manifests say, whatever lies there then. */
    @Test
    void the_head_of_a_shared_file_is_not_read_again() throws IOException {
        Checkpoint one = complete("write", 1);
        byte[] good = Files.readAllBytes(one.shared);
        seal(one.shared, 1);
        Checkpoint two = complete("write", 2, one.shared);
        IOException error = assertThrows(IntegrityException.class, () -> restore("write", two.directory));
        assertTrue(error.getMessage().contains(one.shared.toString()), error.getMessage());
        Files.write(one.shared, good);
        restore("require", two.directory);
    }

    /** As of another job, where they share a directory ({@code execution.checkpointing.create-subdir: false}). */
    @Test
    void the_head_of_metadata_is_read_again() throws IOException {
        Checkpoint one = complete("write", 1);
        Files.delete(one.directory.resolve("_metadata"));
        restore("require", complete("write", 1).directory);
    }

    /** As with Flink's file merging: the checkpoint completes while the file is still written, and others go into it later. */
    @Test
    void a_file_that_others_are_merged_into_may_grow() throws Exception {
        Path merged = directory.resolve("cp/tm/" + UUID.randomUUID());
        Path checkpoint;
        try (FSDataOutputStream out = sealed(merged).getFileSystem().create(sealed(merged), WriteMode.NO_OVERWRITE)) {
            out.write(new byte[LENGTH]);
            out.sync();
            checkpoint = complete("write", 1, segment(merged)).directory;
            restore("require", checkpoint);
            out.write(new byte[LENGTH]);
        }
        restore("require", checkpoint);
        // The tool says how long it is now, which is more than was needed.
        Files.delete(checkpoint.resolve(".sealpoint-manifest"));
        assertEquals(0, verify(checkpoint, "--write-manifest"));
        restore("require", checkpoint);
    }

    @Test
    void a_checkpoint_whose_manifest_cannot_be_written_does_not_complete() throws IOException {
        Path lost = directory.resolve("cp/" + UUID.randomUUID());
        StreamStateHandle gone = new FileStateHandle(sealed(lost), LENGTH);
        IOException error = assertThrows(IOException.class, () -> complete("write", 1, gone));
        assertTrue(error.getMessage().contains(lost.toString()), error.getMessage());
        assertArrayEquals(new String[0], directory.resolve("cp/" + JOB + "/chk-1").toFile().list());
        // Something that no file can be written over.
        Path blocked = Files.createDirectories(directory.resolve("cp/" + JOB + "/chk-2/.sealpoint-manifest"));
        seal(lost, 0);
        assertThrows(IOException.class, () -> complete("write", 2, gone));
        assertFalse(Files.exists(blocked.resolveSibling("_metadata")));
    }

    @Test
    void flinks_disposal_takes_the_manifest_along() throws Exception {
        Checkpoint checkpoint = complete("write", 1);
        CompletedCheckpointStorageLocation location = restore("require", checkpoint.directory);
        location.getMetadataHandle().discardState();
        assertThrows(IOException.class, location::disposeStorageLocation, "a state file is left");
        assertTrue(Files.exists(checkpoint.manifest()));
        Files.delete(checkpoint.exclusive);
        location.disposeStorageLocation();
        assertFalse(Files.exists(checkpoint.directory));
    }

    @Test
    void a_savepoint_has_one_and_may_be_moved_with_it() throws IOException {
        CheckpointStorageLocation location = access("write").initializeLocationForSavepoint(3, "file:" + directory + "/sp");
        Path savepoint = Path.of(((org.apache.flink.runtime.state.filesystem.FsCheckpointStorageLocation) location).getCheckpointDirectory().getPath());
        Path state = savepoint.resolve(UUID.randomUUID().toString());
        seal(state, 0);
        FlinkSetup.complete(location, 3, new RelativeFileStateHandle(sealed(state), state.getFileName().toString(), LENGTH));
        Path moved = Files.move(savepoint, directory.resolve("moved"));
        restore("require", moved);
        seal(moved.resolve(state.getFileName()), 1);
        assertThrows(IntegrityException.class, () -> restore("write", moved));
    }

    @Test
    void a_job_makes_it_stricter_and_never_looser() throws IOException {
        Checkpoint checkpoint = complete("none", 1);
        FlinkSetup.start(ManifestPolicy.OPTION, "require");
        for (String job : new String[] {"none", "write", "require"}) {
            assertThrows(IOException.class, () -> restore(job, checkpoint.directory));
        }
        FlinkSetup.start(ManifestPolicy.OPTION, "write");
        restore("none", checkpoint.directory);
        assertThrows(IOException.class, () -> restore("require", checkpoint.directory));
        assertTrue(Files.exists(complete("none", 2).manifest()));
        IllegalConfigurationException error = assertThrows(IllegalConfigurationException.class, () -> access("sometimes"));
        assertTrue(error.getMessage().contains("none, write or require"), error.getMessage());
    }

    /** What a checkpoint consists of: a file of its own, a shared one, and one that others were merged into. */
    private static final class Checkpoint {
        private final Path directory;
        private final Path exclusive;
        private final Path shared;
        private final Path merged;

        private Checkpoint(Path directory, Path shared, Path merged) {
            this.directory = directory;
            this.exclusive = directory.resolve(UUID.randomUUID().toString());
            this.shared = shared;
            this.merged = merged;
        }

        private Path manifest() {
            return directory.resolve(".sealpoint-manifest");
        }
    }

    private Checkpoint complete(String policy, long id) throws IOException {
        Path shared = directory.resolve("cp/shared/" + UUID.randomUUID());
        seal(shared, 0);
        return complete(policy, id, shared);
    }

    private Checkpoint complete(String policy, long id, Path shared) throws IOException {
        Path merged = directory.resolve("cp/tm/" + UUID.randomUUID());
        seal(merged, 0);
        Checkpoint checkpoint = new Checkpoint(directory.resolve("cp/" + JOB + "/chk-" + id), shared, merged);
        seal(checkpoint.exclusive, 0);
        complete(
                policy,
                id,
                new FileStateHandle(sealed(shared), LENGTH),
                new RelativeFileStateHandle(sealed(checkpoint.exclusive), checkpoint.exclusive.getFileName().toString(), LENGTH),
                segment(merged),
                new FileStateHandle(sealed(shared), LENGTH));
        return checkpoint;
    }

    private Checkpoint complete(String policy, long id, StreamStateHandle... files) throws IOException {
        CheckpointStorageAccess access = access(policy);
        access.initializeBaseLocationsForCheckpoint();
        FlinkSetup.complete(access.initializeLocationForCheckpoint(id), id, files);
        return new Checkpoint(directory.resolve("cp/" + JOB + "/chk-" + id), null, null);
    }

    private static SegmentFileStateHandle segment(Path file) {
        return new SegmentFileStateHandle(sealed(file), 100, LENGTH - 100, CheckpointedStateScope.SHARED, new LogicalFileId("logical"));
    }

    /** A state file of the same length whatever is in it, in the place of one that is there. */
    private static void seal(Path file, int content) throws IOException {
        byte[] plaintext = new byte[LENGTH];
        plaintext[0] = (byte) content;
        Files.createDirectories(file.getParent());
        Files.deleteIfExists(file);
        write(sealed(file), plaintext);
    }

    private CompletedCheckpointStorageLocation restore(String policy, Path checkpoint) throws IOException {
        return access(policy).resolveCheckpoint("file:" + checkpoint);
    }

    private CheckpointStorageAccess access(String policy) throws IOException {
        Configuration configuration =
                FlinkSetup.configuration("state.checkpoints.dir", "file:" + directory + "/cp", ManifestPolicy.OPTION, policy);
        return new EncryptedCheckpointStorageFactory()
                .createFromConfig(configuration, getClass().getClassLoader())
                .createCheckpointStorage(JOB);
    }

    /** How the tool ends. */
    private int verify(Path checkpoint) throws Exception {
        return verify(checkpoint, "--require-manifest");
    }

    private int verify(Path checkpoint, String option) throws Exception {
        StringBuilder toml = new StringBuilder();
        TestKeys.options().forEach((key, value) -> toml.append(key).append(" = '").append(value).append("'\n"));
        Path config = Files.writeString(directory.resolve("sealpoint.toml"), toml);
        Process tool = new ProcessBuilder(
                        System.getProperty("sealpoint.cli"), "verify", option, "--config", config.toString(), checkpoint.toString())
                .inheritIO()
                .start();
        return tool.waitFor();
    }
}
