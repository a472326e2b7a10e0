package io.sealpoint.flink;

import io.sealpoint.CheckpointManifest;
import io.sealpoint.CheckpointMetadata;
import io.sealpoint.CheckpointMetadata.Reference;
import io.sealpoint.HeadCommitment;
import io.sealpoint.IntegrityException;
import io.sealpoint.SealpointException;

import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem;
import org.apache.flink.core.fs.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * The manifests of checkpoints, on the JobManager: written when a checkpoint completes, compared when one is restored. What is read of each
 * file is its head and its length; its content is verified when it is read.
 */
final class CheckpointManifests {
    private static final Logger LOG = LoggerFactory.getLogger(CheckpointManifests.class);
    private static final int THREADS = 8;

    /** For the end of the part that a checkpoint needs of a file: it needs all of it. */
    private static final long WHOLE = -1;

    private final SealedFileSystem fileSystem;
    private final RecentHeads recent = new RecentHeads();

    CheckpointManifests(SealedFileSystem fileSystem) {
        this.fileSystem = fileSystem;
    }

    /** Writes the manifest of a checkpoint that is whole. If that fails there is none. */
    void write(Path directory) throws IOException {
        Map<String, Long> needed = needed(directory);
        Map<String, HeadAndLength> remembered = recent.of(directory);
        Map<String, HeadAndLength> files = new HashMap<>();
        needed.keySet().stream().filter(remembered::containsKey).forEach(path -> files.put(path, remembered.get(path)));
        files.putAll(look(needed.keySet(), files));
        CheckpointManifest described = new CheckpointManifest(SealedPaths.seal(directory).toString());
        needed.forEach((path, end) -> {
            HeadAndLength seen = files.get(path);
            described.add(path, seen.head, end == WHOLE ? seen.length : seen.atLeast(end), end != WHOLE);
        });
        byte[] manifest = described.toBytes();
        Path file = file(directory);
        try {
            try (FSDataOutputStream out = fileSystem.createOwn(file)) {
                out.write(manifest);
            }
        } catch (IOException | RuntimeException error) {
            deleteAfter(error, file);
            throw error;
        }
        // Unlike state files, metadata do not have a name of their own: a job may write those of a checkpoint of this number again.
        files.remove(metadata(directory).toString());
        recent.remember(directory, files);
    }

    /** Refuses a checkpoint whose files are not those that its manifest was written over; without a manifest, if it must have one. */
    void compare(Path directory, boolean required) throws IOException {
        Path file = file(directory);
        if (!fileSystem.inner().exists(file)) {
            if (required) {
                throw ManifestPolicy.missing(SealedPaths.seal(directory));
            }
            LOG.warn("Sealpoint: {} has no manifest: whether its files are those that it was written with is not compared", SealedPaths.seal(directory));
            return;
        }
        byte[] manifest;
        try (FSDataInputStream in = fileSystem.openOwn(file)) {
            manifest = in.readAllBytes();
        }
        // What other metadata name is not even looked at.
        compare(directory, manifest, Map.of(metadata(directory).toString(), WHOLE));
        compare(directory, manifest, needed(directory));
    }

    private static void compare(Path directory, byte[] manifest, Map<String, Long> needed) throws IOException {
        CheckpointManifest found = new CheckpointManifest(SealedPaths.seal(directory).toString());
        look(needed.keySet(), Map.of()).forEach((path, seen) -> {
            long end = needed.get(path);
            found.add(path, seen.head, end == WHOLE ? seen.length : Math.max(seen.length, seen.atLeast(end)), end != WHOLE);
        });
        try {
            found.compareWith(manifest);
        } catch (IntegrityException replaced) {
            throw SealpointException.of(
                    replaced.code(),
                    SealedPaths.seal(directory) + " is not restored: " + replaced.getMessage()
                            + ". Somebody exchanged files: put the right ones back, or restore another checkpoint (`sealpoint verify` names every such file)");
        }
    }

    /** What a checkpoint needs, by its metadata, which are among it: each file, and where the part of it ends if it is a part. */
    private Map<String, Long> needed(Path directory) throws IOException {
        Path metadata = metadata(directory);
        byte[] bytes;
        try (FSDataInputStream in = fileSystem.open(metadata)) {
            bytes = in.readAllBytes();
        }
        Map<String, Long> needed = new TreeMap<>();
        needed.put(metadata.toString(), WHOLE);
        for (Reference reference : CheckpointMetadata.of(bytes).references()) {
            if (!reference.isDirectory()) {
                String path = Relocation.place(SealedPaths.seal(directory).toString(), reference);
                needed.merge(path, reference.partEnd(), (one, other) -> one == WHOLE || other == WHOLE ? WHOLE : Math.max(one, other));
            }
        }
        return needed;
    }

    /** Reads the heads and lengths of the files that are not known. */
    private static Map<String, HeadAndLength> look(Set<String> needed, Map<String, HeadAndLength> known) throws IOException {
        List<String> paths = new ArrayList<>(needed);
        paths.removeAll(known.keySet());
        List<Callable<HeadAndLength>> looks = new ArrayList<>();
        for (String path : paths) {
            looks.add(() -> look(path));
        }
        ExecutorService threads = Executors.newFixedThreadPool(Math.max(1, Math.min(THREADS, paths.size())), CheckpointManifests::thread);
        try {
            Map<String, HeadAndLength> files = new HashMap<>();
            int next = 0;
            for (Future<HeadAndLength> seen : threads.invokeAll(looks)) {
                files.put(paths.get(next++), seen.get());
            }
            return files;
        } catch (InterruptedException stopped) {
            Thread.currentThread().interrupt();
            throw new InterruptedIOException("interrupted while reading the heads of a checkpoint's files");
        } catch (ExecutionException failed) {
            throw new IOException(failed.getCause().getMessage(), failed.getCause());
        } finally {
            threads.shutdownNow();
        }
    }

    private static HeadAndLength look(String path) throws IOException {
        Path file = SealedPaths.unseal(new Path(path));
        FileSystem fileSystem = FileSystem.getUnguardedFileSystem(file.toUri());
        try (FSDataInputStream in = fileSystem.open(file)) {
            HeadCommitment head = HeadCommitment.read(new FlinkSource(in, fileSystem, file), path);
            return new HeadAndLength(head, fileSystem.getFileStatus(file).getLen());
        } catch (SealpointException error) {
            throw error;
        } catch (IOException error) {
            throw new IOException(path + ": the checkpoint needs it, and its head cannot be read: " + error.getMessage(), error);
        }
    }

    private void deleteAfter(Exception failure, Path file) {
        try {
            fileSystem.inner().delete(file, false);
        } catch (IOException error) {
            failure.addSuppressed(error);
        }
    }

    private static Path file(Path directory) {
        return new Path(directory, CheckpointManifest.FILE_NAME);
    }

    private static Path metadata(Path directory) {
        return SealedPaths.seal(new Path(directory, Relocation.METADATA));
    }

    private static Thread thread(Runnable work) {
        Thread thread = new Thread(work, "sealpoint-manifest");
        thread.setDaemon(true);
        return thread;
    }

    /** What is read of a file. */
    static final class HeadAndLength {
        private final HeadCommitment head;
        private final long length;

        HeadAndLength(HeadCommitment head, long length) {
            this.head = head;
            this.length = length;
        }

        /**
         * How long a file is at least of which a part is needed that ends there: longer, since sealing adds to it. It may grow at any time, and
         * not every file system knows how long a file is that is being written.
         */
        private long atLeast(long end) {
            return head.headLength() + end;
        }
    }
}
