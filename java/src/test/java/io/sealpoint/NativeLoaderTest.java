package io.sealpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The native library loads from any number of class loaders, or says clearly why it does not. */
class NativeLoaderTest {
    private static final String LIBRARY = "META-INF/native/linux-x86_64/libsealpoint.so";
    private static final String VERSION = "META-INF/sealpoint.properties";

    @Test
    void two_class_loaders_each_have_their_own_library() throws Exception {
        try (JarLoader one = new JarLoader(Map.of());
                JarLoader two = new JarLoader(Map.of())) {
            Class<?> first = one.loadClass(SealpointEngine.class.getName());
            Class<?> second = two.loadClass(SealpointEngine.class.getName());
            assertNotSame(first, second);
            for (Class<?> engine : new Class<?>[] {first, second, SealpointEngine.class}) {
                Object opened = engine.getMethod("open", Map.class).invoke(null, TestKeys.options());
                assertTrue(((String) engine.getMethod("metrics").invoke(opened)).contains("heliosdb_"));
                ((AutoCloseable) opened).close();
            }
        }
    }

    @Test
    void nothing_is_left_in_the_temporary_directory(@TempDir Path directory) throws Exception {
        withDirectory(directory, () -> load(Map.of()));
        try (Stream<Path> left = Files.list(directory)) {
            assertEquals(0, left.count());
        }
    }

    @Test
    void a_library_of_another_version_is_refused() throws Exception {
        Throwable error = failure(Map.of(VERSION, "version=9.9.9".getBytes(StandardCharsets.UTF_8)));
        assertMessage(error, "has version " + SealpointEngine.version(), "9.9.9");
    }

    @Test
    void a_jar_without_its_library_says_so() throws Exception {
        Throwable error = failure(Map.of(LIBRARY, new byte[0]));
        assertMessage(error, "refuses to load the native library", NativeLoader.DIRECTORY_PROPERTY);
        assertMessage(failure(Map.of(LIBRARY, JarLoader.ABSENT)), "built without its native library", LIBRARY);
    }

    @Test
    void a_directory_that_cannot_be_written_is_named(@TempDir Path directory) throws Exception {
        Path missing = directory.resolve("missing");
        withDirectory(missing, () -> assertMessage(failure(Map.of()), missing.toString(), NativeLoader.DIRECTORY_PROPERTY));
    }

    @Test
    void other_platforms_are_named_with_what_is_supported() throws Exception {
        assertEquals("linux-x86_64", NativeLoader.platform("Linux", "amd64"));
        for (String[] platform : new String[][] {{"Linux", "aarch64"}, {"Mac OS X", "aarch64"}, {"Windows 11", "amd64"}}) {
            SealpointException error = assertThrows(SealpointException.class, () -> NativeLoader.platform(platform[0], platform[1]));
            assertMessage(error, platform[0], platform[1], "linux-x86_64");
            assertEquals(ErrorCode.UNSUPPORTED.number(), error.code());
        }
    }

    private static void withDirectory(Path directory, Action action) throws Exception {
        System.setProperty(NativeLoader.DIRECTORY_PROPERTY, directory.toString());
        try {
            action.run();
        } finally {
            System.clearProperty(NativeLoader.DIRECTORY_PROPERTY);
        }
    }

    private static Throwable failure(Map<String, byte[]> changed) {
        return assertThrows(InvocationTargetException.class, () -> load(changed)).getCause();
    }

    private static void load(Map<String, byte[]> changed) throws Exception {
        try (JarLoader loader = new JarLoader(changed)) {
            Class<?> engine = loader.loadClass(SealpointEngine.class.getName());
            ((AutoCloseable) engine.getMethod("open", Map.class).invoke(null, TestKeys.options())).close();
        }
    }

    private static void assertMessage(Throwable error, String... parts) {
        for (String part : parts) {
            assertTrue(error.getMessage().contains(part), error.getMessage());
        }
    }

    private interface Action {
        void run() throws Exception;
    }

    /** Loads the jar's classes anew, with some of its resources changed. */
    private static final class JarLoader extends URLClassLoader {
        static final byte[] ABSENT = {};

        private final Map<String, byte[]> changed;

        JarLoader(Map<String, byte[]> changed) throws IOException {
            super(new URL[] {Paths.get(System.getProperty("sealpoint.test.classes")).toUri().toURL()}, ClassLoader.getPlatformClassLoader());
            this.changed = changed;
        }

        @Override
        public InputStream getResourceAsStream(String name) {
            byte[] content = changed.get(name);
            if (content == ABSENT) {
                return null;
            }
            return content != null ? new ByteArrayInputStream(content) : super.getResourceAsStream(name);
        }
    }
}
