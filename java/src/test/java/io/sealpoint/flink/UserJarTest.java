package io.sealpoint.flink;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.runtime.checkpoint.Checkpoints;
import org.apache.flink.runtime.checkpoint.metadata.CheckpointMetadata;
import org.apache.flink.runtime.state.CheckpointMetadataOutputStream;
import org.apache.flink.runtime.state.CheckpointStateOutputStream;
import org.apache.flink.runtime.state.CheckpointStorage;
import org.apache.flink.runtime.state.CheckpointStorageAccess;
import org.apache.flink.runtime.state.CheckpointStorageFactory;
import org.apache.flink.runtime.state.CheckpointStorageLocationReference;
import org.apache.flink.runtime.state.CheckpointedStateScope;
import org.apache.flink.runtime.state.StreamStateHandle;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** A user jar that bundles Sealpoint: Flink then takes the storage class from there and the file systems from lib/. */
class UserJarTest {
    /** In the head: the prelude, then tag and length of field 01 (docs/FORMAT.md). */
    private static final int DATA_KEY_ID = 20 + 3;

    private static final int DATA_KEY_ID_LENGTH = 16;

    @TempDir Path directory;

    @Test
    void a_bundled_storage_class_works_with_the_file_systems_of_lib() throws Exception {
        FlinkSetup.start();
        Configuration configuration = FlinkSetup.configuration("state.checkpoints.dir", "file:" + directory);
        try (UserJar userJar = new UserJar()) {
            CheckpointStorageAccess access = bundledAccess(userJar, configuration);
            access.initializeBaseLocationsForCheckpoint();
            awaitLookAtTheKey();
            // On a slow machine a checkpoint may go on with the data key of the one before, because the next is not drawn yet.
            for (int checkpoint = 1; dataKeys().size() < 2 && checkpoint <= 1000; checkpoint++) {
                access.initializeLocationForCheckpoint(checkpoint);
                CheckpointStateOutputStream out = access.resolveCheckpointStorageLocation(checkpoint, CheckpointStorageLocationReference.getDefault())
                        .createCheckpointStateOutputStream(CheckpointedStateScope.EXCLUSIVE);
                out.write(new byte[100_000]);
                StreamStateHandle handle = out.closeAndGetHandle();
                try (FSDataInputStream in = handle.openInputStream()) {
                    assertEquals(100_000, in.readAllBytes().length);
                }
                Thread.sleep(10);
            }
        }
        assertEquals(2, dataKeys().size(), "a checkpoint begins an epoch, across the two copies");
    }

    @Test
    void a_bundled_storage_class_has_lib_write_and_compare_manifests() throws Exception {
        FlinkSetup.start();
        Configuration configuration = FlinkSetup.configuration("state.checkpoints.dir", "file:" + directory, ManifestPolicy.OPTION, "require");
        try (UserJar userJar = new UserJar()) {
            CheckpointStorageAccess access = bundledAccess(userJar, configuration);
            access.initializeBaseLocationsForCheckpoint();
            String pointer;
            try (CheckpointMetadataOutputStream out = access.initializeLocationForCheckpoint(1).createMetadataOutputStream()) {
                Checkpoints.storeCheckpointMetadata(new CheckpointMetadata(1, List.of(), List.of()), out);
                pointer = out.closeAndFinalizeCheckpoint().getExternalPointer();
            }
            assertEquals(pointer, access.resolveCheckpoint(pointer).getExternalPointer());
            Files.delete(Path.of(new org.apache.flink.core.fs.Path(pointer, ".sealpoint-manifest").getPath()));
            IOException error = assertThrows(IOException.class, () -> access.resolveCheckpoint(pointer));
            assertTrue(error.getMessage().contains("it has no manifest"), error.getMessage());
        }
    }

    private static CheckpointStorageAccess bundledAccess(UserJar userJar, Configuration configuration) throws Exception {
        Class<?> bundled = userJar.loadClass(EncryptedCheckpointStorageFactory.class.getName());
        assertNotSame(EncryptedCheckpointStorageFactory.class, bundled);
        CheckpointStorageFactory<?> factory = (CheckpointStorageFactory<?>) bundled.getConstructor().newInstance();
        CheckpointStorage storage = (CheckpointStorage) CheckpointStorageFactory.class
                .getMethod("createFromConfig", ReadableConfig.class, ClassLoader.class)
                .invoke(factory, configuration, userJar);
        return storage.createCheckpointStorage(new JobID(1, 2));
    }

    /** The JobManager's copy has told the file systems' engine to look after the key. */
    private static void awaitLookAtTheKey() throws Exception {
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(2);
        while (!Sealpoint.current().engine().metrics().contains("heliosdb_key_age_seconds{kms=\"primary\",provider=\"local\"")) {
            assertTrue(System.nanoTime() < end, "nobody looked at the key");
            Thread.sleep(10);
        }
    }

    /** The ids of the data keys that the files were sealed under. */
    private Set<String> dataKeys() throws IOException {
        Set<String> keys = new HashSet<>();
        try (Stream<Path> files = Files.walk(directory)) {
            for (Path file : files.filter(Files::isRegularFile).toArray(Path[]::new)) {
                byte[] bytes = Files.readAllBytes(file);
                assertTrue(new String(bytes, StandardCharsets.ISO_8859_1).startsWith("SEALPNT\n"));
                keys.add(new String(bytes, DATA_KEY_ID, DATA_KEY_ID_LENGTH, StandardCharsets.ISO_8859_1));
            }
        }
        return keys;
    }

    /** Child-first for Sealpoint's classes, as Flink's user code class loader is. */
    private static final class UserJar extends URLClassLoader {
        UserJar() throws IOException {
            super(new URL[] {Paths.get(System.getProperty("sealpoint.test.classes")).toUri().toURL()}, UserJarTest.class.getClassLoader());
        }

        @Override
        protected Class<?> loadClass(String name, boolean resolve) throws ClassNotFoundException {
            synchronized (getClassLoadingLock(name)) {
                if (!name.startsWith("io.sealpoint.")) {
                    return super.loadClass(name, resolve);
                }
                Class<?> loaded = findLoadedClass(name);
                return loaded != null ? loaded : findClass(name);
            }
        }
    }
}
