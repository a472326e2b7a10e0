package io.sealpoint.flink;

import io.sealpoint.SealedFiles;
import io.sealpoint.SealedOutputStream;
import io.sealpoint.Sealer;
import io.sealpoint.SealpointEngine;
import io.sealpoint.TruncatedException;

import org.apache.flink.core.fs.BlockLocation;
import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileStatus;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.FileSystemKind;
import org.apache.flink.core.fs.Path;
import org.apache.flink.core.fs.RecoverableWriter;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.BiConsumer;
import java.util.function.ObjLongConsumer;
import java.util.function.Supplier;

/**
 * A file system whose files are sealed. Names and directories are those of the file system inside; lengths and positions are those of the
 * plaintext. It opens sealed files only: a plaintext file under a sealed path is an error.
 *
 * <p>It also takes the news that a checkpoint of a job begins, and that this process coordinates checkpoints. The checkpoint storage that
 * brings them may be another class loader's copy (a user jar that bundles Sealpoint), so they come through types of the JDK's rather than
 * ours: {@link #accept(String, long)} and {@link #run}. So do the wishes about manifests, {@link #accept(String, String)}, and that of
 * {@link ReencryptJob}, {@link #get}.
 */
class SealedFileSystem extends FileSystem
        implements ObjLongConsumer<String>, Runnable, BiConsumer<String, String>, Supplier<FileSystem> {
    private static final int DELETE_ATTEMPTS = 4;

    private final FileSystem inner;
    private final Sealpoint sealpoint;
    private final URI uri;
    private final CheckpointManifests manifests = new CheckpointManifests(this);

    SealedFileSystem(FileSystem inner, Sealpoint sealpoint) {
        this.inner = inner;
        this.sealpoint = sealpoint;
        this.uri = SealedPaths.seal(inner.getUri());
    }

    /** The checkpoint {@code checkpointId} of {@code job} begins. */
    @Override
    public void accept(String job, long checkpointId) {
        try {
            sealpoint.beginEpoch(job, checkpointId);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** This process is the JobManager: it looks after the keys from now on. */
    @Override
    public void run() {
        try {
            sealpoint.coordinate();
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** Something is to be done about the manifest of the checkpoint in a directory: {@link CheckpointNews} has the words for it. */
    @Override
    public void accept(String directory, String wish) {
        Path inside = SealedPaths.unseal(new Path(directory));
        try {
            switch (wish) {
                case CheckpointNews.WRITE:
                    manifests.write(inside);
                    break;
                case CheckpointNews.COMPARE:
                    manifests.compare(inside, false);
                    break;
                case CheckpointNews.REQUIRE:
                    manifests.compare(inside, true);
                    break;
                default:
                    throw new IOException(wish + ": this release of Sealpoint in lib/ does not know what to do: put the one that the job brings there");
            }
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }

    /** The same files, sealed under data keys that are drawn from now on. To be closed. */
    @Override
    public FileSystem get() {
        return new FreshKeys(inner, sealpoint.withFreshKeys());
    }

    @Override
    public FSDataOutputStream create(Path path, WriteMode mode) throws IOException {
        Path file = SealedPaths.unseal(path);
        if (SealedPaths.isOwn(file)) {
            throw reserved(path);
        }
        return create(file, SealedPaths.subject(file), mode);
    }

    /** Creates a file of ours, in the place of one that is there. */
    FSDataOutputStream createOwn(Path file) throws IOException {
        return create(file, file.getName(), WriteMode.OVERWRITE);
    }

    private FSDataOutputStream create(Path file, String subject, WriteMode mode) throws IOException {
        // The sealer first: without a key there should be no file either.
        Sealer sealer;
        try {
            sealer = sealpoint.engine().sealer(file.toString(), subject);
        } catch (IOException error) {
            sealpoint.drainLog();
            throw error;
        }
        FSDataOutputStream target = null;
        try {
            target = inner.create(file, mode);
            return new FlinkOutputStream(new SealedOutputStream(new FlinkSink(target), sealer, sealpoint.arrays(), file.toString()));
        } catch (IOException | RuntimeException | Error error) {
            sealer.close();
            if (target != null) {
                target.close();
            }
            throw error;
        }
    }

    @Override
    public FSDataInputStream open(Path path) throws IOException {
        Path file = visible(path);
        SealpointEngine engine = sealpoint.engine();
        return opened(engine, file, SealedPaths.subject(file), inner.open(file));
    }

    /** Opens a file of ours. */
    FSDataInputStream openOwn(Path file) throws IOException {
        SealpointEngine engine = sealpoint.engine();
        return opened(engine, file, file.getName(), inner.open(file));
    }

    @Override
    public FSDataInputStream open(Path path, int bufferSize) throws IOException {
        Path file = visible(path);
        SealpointEngine engine = sealpoint.engine();
        return opened(engine, file, SealedPaths.subject(file), inner.open(file, bufferSize));
    }

    @Override
    public FileStatus getFileStatus(Path path) throws IOException {
        return sealed(inner.getFileStatus(visible(path)));
    }

    @Override
    public FileStatus[] listStatus(Path path) throws IOException {
        FileStatus[] entries = inner.listStatus(visible(path));
        if (entries == null) {
            return null;
        }
        List<FileStatus> shown = new ArrayList<>(entries.length);
        for (FileStatus entry : entries) {
            if (!SealedPaths.isOwn(entry.getPath())) {
                shown.add(sealed(entry));
            }
        }
        return shown.toArray(new FileStatus[0]);
    }

    @Override
    public boolean exists(Path path) throws IOException {
        Path file = SealedPaths.unseal(path);
        return !SealedPaths.isOwn(file) && inner.exists(file);
    }

    /**
     * Deletes. A directory that holds nothing but files of ours counts as empty, for Flink disposes of checkpoints non-recursively. No store
     * can look and delete in one step, so the inner file system has the last word: it never deletes a directory that something came into
     * meanwhile. What came is without our files then, which were about others. A tool that writes to the directory at the same time is
     * waited out a few times.
     */
    @Override
    public boolean delete(Path path, boolean recursive) throws IOException {
        Path file = SealedPaths.unseal(path);
        for (int attempt = 1; ; attempt++) {
            try {
                return inner.delete(file, recursive);
            } catch (IOException error) {
                if (recursive || attempt == DELETE_ATTEMPTS || !emptiedOfOwn(file)) {
                    throw error;
                }
            }
        }
    }

    @Override
    public boolean mkdirs(Path path) throws IOException {
        return inner.mkdirs(SealedPaths.unseal(path));
    }

    @Override
    public boolean rename(Path from, Path to) throws IOException {
        Path source = visible(from);
        Path target = SealedPaths.unseal(to);
        if (SealedPaths.isOwn(target)) {
            throw reserved(to);
        }
        String bound = SealedPaths.subject(source);
        String expected = SealedPaths.subject(target);
        boolean keepsItsName = bound == null ? expected == null : bound.equals(expected);
        if (!keepsItsName && inner.exists(source) && !inner.getFileStatus(source).isDir()) {
            throw new IOException(
                    from + " cannot be renamed to " + to + ": the names of state files (UUIDs and _metadata) are sealed into them, and under the"
                            + " new name nobody could open the file");
        }
        return inner.rename(source, target);
    }

    @Override
    public BlockLocation[] getFileBlockLocations(FileStatus file, long start, long len) throws IOException {
        FileStatus status = file instanceof SealedFileStatus ? ((SealedFileStatus) file).inner() : inner.getFileStatus(visible(file.getPath()));
        BlockLocation[] blocks = inner.getFileBlockLocations(status, 0, status.getLen());
        // Blocks cut the sealed bytes, not the plaintext: all that holds for a range of it is who has the file.
        return blocks == null || blocks.length == 0 ? blocks : new BlockLocation[] {new WholeFile(blocks[0].getHosts(), start, len)};
    }

    /** Flink then writes {@code _metadata} through {@link #create}. A sealed file cannot be resumed from the middle of a chunk. */
    @Override
    public RecoverableWriter createRecoverableWriter() {
        throw new UnsupportedOperationException("sealed file systems have no recoverable writer");
    }

    @Override
    public Path getWorkingDirectory() {
        return SealedPaths.seal(inner.getWorkingDirectory());
    }

    @Override
    public Path getHomeDirectory() {
        return SealedPaths.seal(inner.getHomeDirectory());
    }

    @Override
    public URI getUri() {
        return uri;
    }

    @Override
    public boolean isDistributedFS() {
        return inner.isDistributedFS();
    }

    /** Part of Flink 1's FileSystem only, hence no Override. What is asked is whether a file is there once it is written: ask the scheme. */
    @SuppressWarnings("deprecation")
    public FileSystemKind getKind() {
        String scheme = inner.getUri().getScheme();
        return scheme.equals("file") || scheme.equals("hdfs") ? FileSystemKind.FILE_SYSTEM : FileSystemKind.OBJECT_STORE;
    }

    FileSystem inner() {
        return inner;
    }

    /**
     * The length of the plaintext of a file inside, from its verified end. A file that Flink merges others into may have none: what
     * is read of it are the segments that a checkpoint's metadata names, perhaps while it is written, perhaps after its writer was killed. Flink
     * asks how large such a file is to reckon with disk space, and gets an estimate.
     */
    long plaintextLength(FileStatus status) throws IOException {
        Path file = status.getPath();
        String subject = SealedPaths.subject(file);
        try {
            return SealedFiles.plaintextLength(
                    sealpoint.engine(), FlinkSource.open(inner, file), status.getLen(), file.toString(), subject);
        } catch (TruncatedException noEnd) {
            if (!SealedPaths.isMergedInto(file)) {
                throw noEnd;
            }
            return SealedFiles.plaintextLengthSoFar(
                    sealpoint.engine(), FlinkSource.open(inner, file), status.getLen(), file.toString(), subject);
        }
    }

    /** The engine comes first: if it cannot be had, nothing is open yet that nobody would close. */
    private FSDataInputStream opened(SealpointEngine engine, Path file, String subject, FSDataInputStream source) throws IOException {
        FlinkSource sealed = new FlinkSource(source, inner, file);
        try {
            return FlinkInputStream.open(engine, sealed, sealpoint.arrays(), file, subject);
        } finally {
            if (sealed.lookedBeside()) {
                sealpoint.drainLog();
            }
        }
    }

    private FileStatus sealed(FileStatus status) {
        return new SealedFileStatus(this, status, SealedPaths.seal(status.getPath().makeQualified(inner)));
    }

    /** Deletes the files of ours in a directory that holds nothing else; false, and nothing is done, where it does or cannot be looked into. */
    private boolean emptiedOfOwn(Path directory) throws IOException {
        FileStatus[] entries;
        try {
            entries = inner.listStatus(directory);
        } catch (IOException error) {
            return false;
        }
        if (entries == null || !Arrays.stream(entries).allMatch(entry -> SealedPaths.isOwn(entry.getPath()))) {
            return false;
        }
        for (FileStatus entry : entries) {
            try {
                inner.delete(entry.getPath(), false);
            } catch (FileNotFoundException gone) {
                // Somebody else was quicker.
            }
        }
        return true;
    }

    private static Path visible(Path path) throws FileNotFoundException {
        Path file = SealedPaths.unseal(path);
        if (SealedPaths.isOwn(file)) {
            throw new FileNotFoundException(path + ": files of Sealpoint's own are hidden");
        }
        return file;
    }

    private static IOException reserved(Path path) {
        return new IOException(path + ": names that begin like this are reserved for Sealpoint's own files, such as rewrapped keys");
    }

    /** With an engine of its own. */
    private static final class FreshKeys extends SealedFileSystem implements AutoCloseable {
        private final Sealpoint own;

        FreshKeys(FileSystem inner, Sealpoint own) {
            super(inner, own);
            this.own = own;
        }

        @Override
        public void close() {
            own.close();
        }
    }

    /** The place of a range of plaintext. */
    private static final class WholeFile implements BlockLocation {
        private final String[] hosts;
        private final long start;
        private final long length;

        WholeFile(String[] hosts, long start, long length) {
            this.hosts = hosts;
            this.start = start;
            this.length = length;
        }

        @Override
        public String[] getHosts() {
            return hosts;
        }

        @Override
        public long getOffset() {
            return start;
        }

        @Override
        public long getLength() {
            return length;
        }

        @Override
        public int compareTo(BlockLocation other) {
            return Long.compare(start, other.getOffset());
        }
    }
}
