package io.sealpoint.flink;

import org.apache.flink.core.fs.EntropyInjectingFileSystem;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.util.WrappingProxy;

/** The sealed form of a file system that spreads its files by a random part of their paths, as S3 does. */
final class SealedEntropyFileSystem extends SealedFileSystem implements EntropyInjectingFileSystem {
    private final EntropyInjectingFileSystem entropy;

    SealedEntropyFileSystem(FileSystem inner, Sealpoint sealpoint) {
        super(inner, sealpoint);
        this.entropy = entropyOf(inner);
    }

    /** The entropy part of a file system, looking through plugin class loaders' proxies; null if it has none. */
    static EntropyInjectingFileSystem entropyOf(FileSystem fileSystem) {
        Object layer = fileSystem;
        while (layer instanceof WrappingProxy && !(layer instanceof EntropyInjectingFileSystem)) {
            layer = ((WrappingProxy<?>) layer).getWrappedDelegate();
        }
        return layer instanceof EntropyInjectingFileSystem ? (EntropyInjectingFileSystem) layer : null;
    }

    @Override
    public String getEntropyInjectionKey() {
        return entropy.getEntropyInjectionKey();
    }

    @Override
    public String generateEntropy() {
        return entropy.generateEntropy();
    }
}
