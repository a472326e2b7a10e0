package io.sealpoint.flink;

import static io.sealpoint.flink.FlinkSetup.read;
import static io.sealpoint.flink.FlinkSetup.sealed;
import static io.sealpoint.flink.FlinkSetup.write;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.ErrorCode;
import io.sealpoint.KmsException;
import io.sealpoint.Rewrapped;
import io.sealpoint.SealpointException;

import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.local.LocalFileSystem;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Files whose key version is gone, with and without the sidecars that `sealpoint rewrap` writes. */
class RewrappedKeysTest {
    private static final byte[] SECRET = "Ada Lovelace, London".getBytes(StandardCharsets.UTF_8);

    @TempDir java.nio.file.Path root;

    private java.nio.file.Path checkpoint;
    private java.nio.file.Path file;
    private byte[] sidecar;

    /** A sealed file whose own slots no key service opens any more. */
    @BeforeEach
    void seal() throws IOException {
        FlinkSetup.start("sealpoint.cache.negative-ttl", "0 s");
        checkpoint = Files.createDirectory(root.resolve("chk-1"));
        file = checkpoint.resolve("_metadata");
        write(sealed(file), SECRET);
        byte[] bytes = Files.readAllBytes(file);
        sidecar = Rewrapped.sidecar(bytes);
        Files.write(file, Rewrapped.file(bytes));
    }

    @Test
    void the_sidecar_of_the_directory_or_of_its_parent_opens_it() throws IOException {
        for (java.nio.file.Path folder : List.of(checkpoint, root)) {
            java.nio.file.Path keys = Files.write(folder.resolve(".sealpoint-keys"), sidecar);
            assertArrayEquals(SECRET, read(sealed(file)));
            assertEquals(SECRET.length, sealed(file).getFileSystem().getFileStatus(sealed(file)).getLen());
            Files.delete(keys);
            assertThrows(KmsException.class, () -> read(sealed(file)));
        }
    }

    @Test
    void without_one_the_error_names_file_version_and_remedy() throws IOException {
        KmsException error = assertThrows(KmsException.class, () -> read(sealed(file)));
        assertEquals(ErrorCode.KEY_VERSION_NOT_FOUND.number(), error.code());
        for (String part : List.of(file.toString(), "'sealpoint'", "version 7", "sealpoint rewrap")) {
            assertTrue(error.getMessage().contains(part), error.getMessage());
        }
        FileStatus status = sealed(file).getFileSystem().getFileStatus(sealed(file));
        assertEquals(KmsException.class, assertThrows(UncheckedIOException.class, status::getLen).getCause().getClass());
    }

    @Test
    void a_broken_sidecar_is_ignored_where_the_other_works_and_named_where_none_does() throws Exception {
        byte[] tampered = sidecar.clone();
        tampered[50] ^= 1;
        java.nio.file.Path keys = checkpoint.resolve(".sealpoint-keys");
        List<Broken> broken = List.of(
                () -> Files.write(keys, tampered),
                () -> Files.write(keys, Arrays.copyOf(sidecar, sidecar.length - 1)),
                () -> Files.write(keys, new byte[] {1}),
                () -> huge(keys),
                () -> Files.createDirectory(keys));
        for (Broken breaks : broken) {
            breaks.up();
            Files.write(root.resolve(".sealpoint-keys"), sidecar);
            assertArrayEquals(SECRET, read(sealed(file)));
            Files.delete(root.resolve(".sealpoint-keys"));
            SealpointException error = assertThrows(SealpointException.class, () -> read(sealed(file)));
            // What could not be read may have had the key: then nobody says that it is gone.
            assertEquals(Files.isDirectory(keys), !(error instanceof KmsException), error.getMessage());
            assertTrue(error.getMessage().contains("version 7") && error.getMessage().contains(".sealpoint-keys of the file's directory: "),
                    error.getMessage());
            Files.delete(keys);
        }
    }

    @Test
    void a_sidecar_of_another_directory_opens_nothing() throws IOException {
        // Another configuration is another engine, with data keys of its own.
        FlinkSetup.start("sealpoint.cache.negative-ttl", "0 s", "sealpoint.cache.ttl", "61 s");
        java.nio.file.Path other = root.resolve("other");
        write(sealed(other), SECRET);
        Files.write(checkpoint.resolve(".sealpoint-keys"), Rewrapped.sidecar(Files.readAllBytes(other)));
        KmsException error = assertThrows(KmsException.class, () -> read(sealed(file)));
        assertEquals(ErrorCode.KEY_VERSION_NOT_FOUND.number(), error.code());
    }

    @Test
    void a_file_whose_own_slots_work_never_looks_beside_itself() throws IOException {
        java.nio.file.Path good = checkpoint.resolve("good");
        write(sealed(good), SECRET);
        Watched inner = new Watched();
        SealedFileSystem fileSystem = new SealedFileSystem(inner, Sealpoint.current());
        try (FSDataInputStream in = fileSystem.open(sealed(good))) {
            assertArrayEquals(SECRET, in.readAllBytes());
        }
        assertEquals(List.of("good"), inner.opened);
        assertThrows(KmsException.class, () -> fileSystem.open(sealed(file)));
        assertEquals(List.of("good", "_metadata", ".sealpoint-keys", ".sealpoint-keys"), inner.opened);
    }

    @Test
    void what_is_ours_is_hidden_and_cannot_be_written() throws IOException {
        FileSystem fileSystem = sealed(checkpoint).getFileSystem();
        for (String name : List.of(".sealpoint-keys", ".sealpoint-keys.lock", ".sealpoint-manifest", ".sealpoint-keys.1234.part")) {
            Path own = sealed(Files.write(checkpoint.resolve(name), new byte[] {1}));
            assertFalse(fileSystem.exists(own));
            assertThrows(FileNotFoundException.class, () -> fileSystem.getFileStatus(own));
            assertThrows(FileNotFoundException.class, () -> fileSystem.open(own));
            assertThrows(IOException.class, () -> fileSystem.create(own, WriteMode.OVERWRITE));
            assertThrows(IOException.class, () -> fileSystem.rename(sealed(file), own));
        }
        assertEquals(1, fileSystem.listStatus(sealed(checkpoint)).length);
        assertThrows(IOException.class, () -> fileSystem.delete(sealed(checkpoint), false));
        assertEquals(5, checkpoint.toFile().list().length, "nothing is deleted while a file of Flink's is there");
        assertTrue(fileSystem.delete(sealed(file), false));
        assertTrue(fileSystem.delete(sealed(checkpoint), false));
        assertFalse(Files.exists(checkpoint));
    }

    private interface Broken {
        void up() throws IOException;
    }

    /** As long as no machine has memory for. */
    private static void huge(java.nio.file.Path keys) throws IOException {
        try (RandomAccessFile sparse = new RandomAccessFile(keys.toFile(), "rw")) {
            sparse.setLength(1L << 40);
        }
    }

    /** Notes what is opened, and says in words of its own that a file is not there, as remote stores do. */
    private static final class Watched extends LocalFileSystem {
        final List<String> opened = new ArrayList<>();

        @Override
        public FSDataInputStream open(Path path) throws IOException {
            opened.add(path.getName());
            try {
                return super.open(path);
            } catch (FileNotFoundException missing) {
                throw new IOException("404");
            }
        }
    }
}
