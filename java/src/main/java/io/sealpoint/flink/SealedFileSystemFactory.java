package io.sealpoint.flink;

import org.apache.flink.configuration.Configuration;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystemFactory;

import java.io.IOException;
import java.net.URI;

/** Makes the sealed form of one file system. Flink finds one subclass a scheme through META-INF/services. */
public abstract class SealedFileSystemFactory implements FileSystemFactory {
    private final String scheme;

    SealedFileSystemFactory(String innerScheme) {
        this.scheme = SealedPaths.PREFIX + innerScheme;
    }

    @Override
    public String getScheme() {
        return scheme;
    }

    @Override
    public void configure(Configuration configuration) {
        Sealpoint.configure(configuration);
        DirectoryAudit audit = DirectoryAudit.ofCluster(configuration);
        audit.run();
        if (audit.isNeeded()) {
            CheckpointWatch.install(configuration);
        }
    }

    @Override
    public FileSystem create(URI uri) throws IOException {
        FileSystem inner = FileSystem.getUnguardedFileSystem(SealedPaths.unseal(uri));
        Sealpoint sealpoint = Sealpoint.current();
        // Opened here, a configuration that cannot work fails the job when it starts, not its first checkpoint.
        sealpoint.engine();
        return SealedEntropyFileSystem.entropyOf(inner) == null
                ? new SealedFileSystem(inner, sealpoint)
                : new SealedEntropyFileSystem(inner, sealpoint);
    }

    /** {@code sealed+file}. */
    public static final class File extends SealedFileSystemFactory {
        public File() {
            super("file");
        }
    }

    /** {@code sealed+s3}. */
    public static final class S3 extends SealedFileSystemFactory {
        public S3() {
            super("s3");
        }
    }

    /** {@code sealed+s3a}. */
    public static final class S3a extends SealedFileSystemFactory {
        public S3a() {
            super("s3a");
        }
    }

    /** {@code sealed+hdfs}. */
    public static final class Hdfs extends SealedFileSystemFactory {
        public Hdfs() {
            super("hdfs");
        }
    }

    /** {@code sealed+abfs}. */
    public static final class Abfs extends SealedFileSystemFactory {
        public Abfs() {
            super("abfs");
        }
    }

    /** {@code sealed+abfss}. */
    public static final class Abfss extends SealedFileSystemFactory {
        public Abfss() {
            super("abfss");
        }
    }

    /** {@code sealed+gs}. */
    public static final class Gs extends SealedFileSystemFactory {
        public Gs() {
            super("gs");
        }
    }

    /** {@code sealed+oss}. */
    public static final class Oss extends SealedFileSystemFactory {
        public Oss() {
            super("oss");
        }
    }
}
