package io.sealpoint.flink;

import static io.sealpoint.flink.FlinkSetup.read;
import static io.sealpoint.flink.FlinkSetup.sealed;
import static io.sealpoint.flink.FlinkSetup.write;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.IntegrityException;
import io.sealpoint.NotSealedException;
import io.sealpoint.SealpointException;
import io.sealpoint.TruncatedException;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.EntropyInjectingFileSystem;
import org.apache.flink.core.fs.EntropyInjector;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.core.fs.FileSystemFactory;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.local.LocalFileSystem;
import org.apache.flink.runtime.highavailability.FileSystemJobResultStore;
import org.apache.flink.runtime.highavailability.JobResultEntry;
import org.apache.flink.runtime.highavailability.JobResultStore;
import org.apache.flink.runtime.jobmaster.JobResult;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ServiceLoader;
import java.util.TreeSet;
import java.util.UUID;
import java.util.stream.Stream;

/** The sealed form of the local file system, found by Flink's own means. */
class SealedFileSystemTest {
    private static final byte[] SECRET = "Ada Lovelace, London".getBytes(StandardCharsets.UTF_8);

    @TempDir java.nio.file.Path directory;

    @BeforeEach
    void start() {
        FlinkSetup.start();
    }

    @Test
    void what_is_written_is_sealed_on_disk_and_plain_through_flink() throws IOException {
        java.nio.file.Path file = directory.resolve("state");
        write(sealed(file), SECRET);
        String onDisk = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
        assertTrue(onDisk.startsWith("SEALPNT\n"));
        assertFalse(onDisk.contains("Lovelace"));
        assertArrayEquals(SECRET, read(sealed(file)));
    }

    @Test
    void lengths_and_positions_are_those_of_the_plaintext() throws IOException {
        Path file = sealed(directory.resolve("state"));
        FileSystem fileSystem = file.getFileSystem();
        try (FSDataOutputStream out = fileSystem.create(file, WriteMode.NO_OVERWRITE)) {
            out.write(new byte[100_000]);
            assertEquals(100_000, out.getPos());
        }
        assertEquals(100_000, fileSystem.getFileStatus(file).getLen());
        FileStatus[] entries = fileSystem.listStatus(sealed(directory));
        assertEquals(1, entries.length);
        assertEquals(100_000, entries[0].getLen());
        assertEquals(file.toUri(), entries[0].getPath().toUri());
        try (FSDataInputStream in = fileSystem.open(file)) {
            in.seek(99_999);
            assertEquals(99_999, in.getPos());
            assertEquals(0, in.read());
            assertEquals(-1, in.read());
        }
        assertEquals(1, fileSystem.getFileBlockLocations(entries[0], 0, 100_000).length);
    }

    @Test
    void a_plaintext_file_under_a_sealed_path_is_refused_by_name() throws IOException {
        java.nio.file.Path plain = Files.write(directory.resolve("plain"), SECRET);
        NotSealedException error = assertThrows(NotSealedException.class, () -> read(sealed(plain)));
        assertTrue(error.getMessage().contains(plain.toString()), error.getMessage());
        FileStatus status = sealed(plain).getFileSystem().getFileStatus(sealed(plain));
        assertInstanceOf(NotSealedException.class, assertThrows(UncheckedIOException.class, status::getLen).getCause());
    }

    @Test
    void a_file_that_was_never_closed_has_no_length() throws IOException {
        java.nio.file.Path file = directory.resolve("open");
        try (FSDataOutputStream out = sealed(file).getFileSystem().create(sealed(file), WriteMode.NO_OVERWRITE)) {
            out.write(SECRET);
            out.sync();
            FileStatus status = sealed(file).getFileSystem().getFileStatus(sealed(file));
            assertInstanceOf(TruncatedException.class, assertThrows(UncheckedIOException.class, status::getLen).getCause());
        }
        assertEquals(SECRET.length, sealed(file).getFileSystem().getFileStatus(sealed(file)).getLen());
    }

    @Test
    void a_file_that_flink_merges_others_into_has_a_length_so_far() throws IOException {
        for (String folder : new String[] {"job_0123456789abcdef0123456789abcdef_tm_host-1-ab", "job_0123456789abcdef0123456789abcdef_op_ff_0_2"}) {
            java.nio.file.Path file = Files.createDirectory(directory.resolve(folder)).resolve(UUID.randomUUID().toString());
            FileSystem fileSystem = sealed(file).getFileSystem();
            try (FSDataOutputStream out = fileSystem.create(sealed(file), WriteMode.NO_OVERWRITE)) {
                out.write(new byte[100_000]);
                out.sync();
                assertEquals(100_000, fileSystem.getFileStatus(sealed(file)).getLen());
                out.write(SECRET);
            }
            assertEquals(100_000 + SECRET.length, fileSystem.getFileStatus(sealed(file)).getLen());
        }
    }

    @Test
    void two_state_files_swapped_in_storage_are_found_out() throws IOException {
        java.nio.file.Path one = directory.resolve(UUID.randomUUID().toString());
        java.nio.file.Path two = directory.resolve(UUID.randomUUID().toString());
        write(sealed(one), SECRET);
        write(sealed(two), new byte[10]);
        java.nio.file.Path aside = directory.resolve("aside");
        Files.move(one, aside);
        Files.move(two, one);
        Files.move(aside, two);
        assertThrows(IntegrityException.class, () -> read(sealed(one)));
        assertThrows(IntegrityException.class, () -> read(sealed(two)));
    }

    @Test
    void a_savepoint_may_move_but_its_files_may_not_be_renamed() throws IOException {
        java.nio.file.Path savepoint = Files.createDirectory(directory.resolve("savepoint-1"));
        java.nio.file.Path metadata = savepoint.resolve("_metadata");
        write(sealed(metadata), SECRET);
        FileSystem fileSystem = sealed(directory).getFileSystem();
        IOException error = assertThrows(IOException.class, () -> fileSystem.rename(sealed(metadata), sealed(savepoint.resolve("other"))));
        assertTrue(error.getMessage().contains("_metadata"), error.getMessage());
        assertTrue(fileSystem.rename(sealed(savepoint), sealed(directory.resolve("moved"))));
        assertArrayEquals(SECRET, read(sealed(directory.resolve("moved/_metadata"))));
    }

    /** Flink's own store, which writes, lists, reads and renames. */
    @Test
    void the_job_result_store_works_on_a_sealed_path() throws Exception {
        Configuration configuration = FlinkSetup.configuration(
                "job-result-store.storage-path", sealed(directory).toString(), "job-result-store.delete-on-commit", "false");
        JobResultStore store = FileSystemJobResultStore.fromConfiguration(configuration, Runnable::run);
        JobID job = new JobID(1, 2);
        store.createDirtyResultAsync(new JobResultEntry(new JobResult.Builder().jobId(job).netRuntime(7).build())).get();
        assertEquals(job, store.getDirtyResults().iterator().next().getJobId());
        store.markResultAsCleanAsync(job).get();
        assertTrue(store.hasCleanJobResultEntryAsync(job).get());
        assertEquals(0, store.getDirtyResults().size());
        try (Stream<java.nio.file.Path> files = Files.list(directory)) {
            for (java.nio.file.Path file : files.toArray(java.nio.file.Path[]::new)) {
                assertTrue(Files.readString(file, StandardCharsets.ISO_8859_1).startsWith("SEALPNT\n"), file.toString());
            }
        }
    }

    @Test
    void nothing_is_created_where_no_key_can_be_had() throws IOException {
        FlinkSetup.start("sealpoint.kms.local.keyring", directory.resolve("missing.json").toString());
        java.nio.file.Path file = directory.resolve("state");
        SealpointException error = assertThrows(SealpointException.class, () -> write(sealed(file), SECRET));
        assertTrue(error.getMessage().contains("missing.json"), error.getMessage());
        assertFalse(Files.exists(file));
    }

    @Test
    void a_process_that_is_not_configured_says_what_is_missing() {
        FileSystem.initialize(new Configuration(), null);
        SealpointException error = assertThrows(SealpointException.class, () -> write(sealed(directory.resolve("state")), SECRET));
        assertTrue(error.getMessage().contains("kms.provider"), error.getMessage());
    }

    @Test
    void a_replaced_file_is_not_overwritten() throws IOException {
        java.nio.file.Path file = directory.resolve("state");
        write(sealed(file), SECRET);
        assertThrows(IOException.class, () -> write(sealed(file), new byte[1]));
        assertArrayEquals(SECRET, read(sealed(file)));
    }

    @Test
    void every_scheme_has_its_factory() {
        TreeSet<String> schemes = new TreeSet<>();
        for (FileSystemFactory factory : ServiceLoader.load(FileSystemFactory.class)) {
            if (factory instanceof SealedFileSystemFactory) {
                schemes.add(factory.getScheme());
            }
        }
        TreeSet<String> expected = new TreeSet<>();
        SealedPaths.SCHEMES.forEach(scheme -> expected.add("sealed+" + scheme));
        assertEquals(expected, schemes);
    }

    @Test
    void entropy_goes_through() throws IOException {
        FileSystem inner = new SpreadFileSystem();
        FileSystem sealed = new SealedEntropyFileSystem(inner, Sealpoint.current());
        Path path = new Path("sealed+file:" + directory + "/_entropy_/chk-1");
        assertEquals(directory + "/wxyz/chk-1", EntropyInjector.addEntropy(sealed, path).getPath());
        assertFalse(EntropyInjector.isEntropyInjecting(sealed(directory).getFileSystem(), path));
    }

    @Test
    void a_damaged_file_is_refused_by_name() throws IOException {
        java.nio.file.Path file = directory.resolve("state");
        write(sealed(file), SECRET);
        byte[] bytes = Files.readAllBytes(file);
        bytes[bytes.length - 50] ^= 1;
        Files.write(file, bytes);
        SealpointException error = assertThrows(IntegrityException.class, () -> read(sealed(file)));
        assertTrue(error.getMessage().contains(file.toString()), error.getMessage());
    }

    private static final class SpreadFileSystem extends LocalFileSystem implements EntropyInjectingFileSystem {
        @Override
        public String getEntropyInjectionKey() {
            return "_entropy_";
        }

        @Override
        public String generateEntropy() {
            return "wxyz";
        }
    }
}
