package io.sealpoint;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Locale;
import java.util.Properties;

/**
 * Loads the native library that the jar carries. A JVM refuses to load one file from two class loaders, so each loader of this class
 * extracts a copy of its own, into a fresh directory that only the owner may enter, and deletes it once it is mapped.
 */
final class NativeLoader {
    /** Where to extract to, instead of java.io.tmpdir. */
    static final String DIRECTORY_PROPERTY = "sealpoint.native.dir";

    private static final int ABI_VERSION = 3;
    private static final String SUPPORTED = "linux-x86_64";
    private static final String LIBRARY = "libsealpoint.so";

    private static boolean loaded;

    private NativeLoader() {}

    /** Loads the library, once; every call after a failure tries again and says why it fails. */
    static synchronized void load() throws SealpointException {
        if (!loaded) {
            loadFrom("/META-INF/native/" + platform(System.getProperty("os.name"), System.getProperty("os.arch")) + "/" + LIBRARY);
            loaded = true;
        }
    }

    /** The name of the directory in the jar that holds this platform's library. */
    static String platform(String osName, String osArch) throws SealpointException {
        String os = osName.toLowerCase(Locale.ROOT).startsWith("linux") ? "linux" : osName.toLowerCase(Locale.ROOT).replace(' ', '_');
        String arch = osArch.equals("amd64") ? "x86_64" : osArch;
        String platform = os + "-" + arch;
        if (!SUPPORTED.equals(platform)) {
            throw unsupported(
                    "no native library for this platform (os.name " + osName + ", os.arch " + osArch + "); this jar supports " + SUPPORTED);
        }
        return platform;
    }

    /** The version of this jar. */
    static String version() throws SealpointException {
        try (InputStream in = NativeLoader.class.getResourceAsStream("/META-INF/sealpoint.properties")) {
            Properties properties = new Properties();
            if (in != null) {
                properties.load(in);
            }
            String version = properties.getProperty("version");
            if (version == null) {
                throw unsupported("the Sealpoint jar is incomplete: META-INF/sealpoint.properties has no version; build or fetch the jar again");
            }
            return version;
        } catch (SealpointException error) {
            throw error;
        } catch (IOException error) {
            throw caused(unsupported("cannot read the version of the Sealpoint jar: " + error.getMessage()), error);
        }
    }

    private static void loadFrom(String resource) throws SealpointException {
        Path base = Paths.get(System.getProperty(DIRECTORY_PROPERTY, System.getProperty("java.io.tmpdir")));
        Path directory = null;
        Path file = null;
        try (InputStream in = NativeLoader.class.getResourceAsStream(resource)) {
            if (in == null) {
                throw unsupported("the Sealpoint jar was built without its native library (no " + resource.substring(1) + " in it); build or fetch the jar again");
            }
            directory = Files.createTempDirectory(
                    base, "sealpoint-", PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
            file = directory.resolve(LIBRARY);
            Files.copy(in, file);
            link(file);
        } catch (SealpointException error) {
            throw error;
        } catch (IOException error) {
            throw caused(
                    unsupported("cannot extract the native library to " + base + ": " + error
                            + "; name a writable directory with -D" + DIRECTORY_PROPERTY + "=PATH"),
                    error);
        } finally {
            // Linux keeps a mapped file alive without its name.
            deleteQuietly(file);
            deleteQuietly(directory);
        }
    }

    private static void link(Path file) throws SealpointException {
        try {
            System.load(file.toAbsolutePath().toString());
        } catch (UnsatisfiedLinkError error) {
            throw caused(
                    unsupported("the operating system refuses to load the native library from " + file.getParent().getParent() + ": "
                            + error.getMessage() + "; if that file system is mounted noexec, name another directory with -D"
                            + DIRECTORY_PROPERTY + "=PATH or -Djava.io.tmpdir=PATH; if it names a GLIBC version, this system's C library is too old"),
                    error);
        }
        String version = version();
        try {
            if (Native.abiVersion() == ABI_VERSION && Native.version().equals(version)) {
                return;
            }
            throw unsupported("the native library in the Sealpoint jar has version " + Native.version() + " (ABI " + Native.abiVersion()
                    + "), the jar has version " + version + " (ABI " + ABI_VERSION + "); build or fetch the jar again");
        } catch (UnsatisfiedLinkError error) {
            throw caused(
                    unsupported("the native library in the Sealpoint jar is not that of version " + version + ": " + error.getMessage()
                            + "; build or fetch the jar again"),
                    error);
        }
    }

    private static void deleteQuietly(Path path) {
        if (path != null) {
            try {
                Files.deleteIfExists(path);
            } catch (IOException leftBehind) {
                path.toFile().deleteOnExit();
            }
        }
    }

    private static SealpointException unsupported(String message) {
        return SealpointException.of(ErrorCode.UNSUPPORTED, message);
    }

    private static SealpointException caused(SealpointException error, Throwable cause) {
        error.initCause(cause);
        return error;
    }
}
