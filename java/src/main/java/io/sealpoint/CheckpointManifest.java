package io.sealpoint;

import java.util.ArrayList;
import java.util.List;

/**
 * Which sealed file, exactly, each name of a checkpoint stands for: to be written into its manifest, or compared with it (docs/FORMAT.md).
 * Names and lengths alone do not tell a file from an older one of the same name.
 */
public final class CheckpointManifest {
    /** The name of the manifest in the checkpoint's directory, and its subject. */
    public static final String FILE_NAME = ".sealpoint-manifest";

    private final String directory;
    private final List<SealedFile> files = new ArrayList<>();

    /** @param directory the path or URI of the checkpoint's directory */
    public CheckpointManifest(String directory) {
        this.directory = directory;
    }

    /** One file of the checkpoint. */
    private static final class SealedFile {
        private final String path;
        private final HeadCommitment commitment;
        private final long length;
        private final boolean grows;

        private SealedFile(String path, HeadCommitment commitment, long length, boolean grows) {
            this.path = path;
            this.commitment = commitment;
            this.length = length;
            this.grows = grows;
        }
    }

    /**
     * Adds a file.
     *
     * @param path its path or URI
     * @param length its sealed bytes, or, of a file that grows, those that it has at least
     * @param grows whether others are still merged into it
     */
    public void add(String path, HeadCommitment commitment, long length, boolean grows) {
        files.add(new SealedFile(path, commitment, length, grows));
    }

    /** The plaintext of the manifest. */
    public byte[] toBytes() throws SealpointException {
        NativeLoader.load();
        boolean[] grows = new boolean[files.size()];
        for (int i = 0; i < grows.length; i++) {
            grows[i] = files.get(i).grows;
        }
        return Native.manifestOf(directory, paths(), commitments(), lengths(), grows);
    }

    /** Throws an {@link IntegrityException} that names a file, unless each file here is the one that the manifest was written over. */
    public void compareWith(byte[] manifest) throws SealpointException {
        NativeLoader.load();
        Native.manifestCompare(manifest, directory, paths(), commitments(), lengths());
    }

    private String[] paths() {
        return files.stream().map(file -> file.path).toArray(String[]::new);
    }

    private long[] lengths() {
        return files.stream().mapToLong(file -> file.length).toArray();
    }

    private byte[] commitments() {
        byte[] all = new byte[files.size() * HeadCommitment.LENGTH];
        for (int i = 0; i < files.size(); i++) {
            files.get(i).commitment.copyTo(all, i * HeadCommitment.LENGTH);
        }
        return all;
    }
}
