package io.sealpoint.flink;

import io.sealpoint.CheckpointMetadata;
import io.sealpoint.CheckpointMetadata.Reference;

import org.apache.flink.core.fs.FSDataInputStream;
import org.apache.flink.core.fs.Path;

import java.io.IOException;
import java.io.Serializable;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;

/** One checkpoint or savepoint that moves: which files it consists of, and where each goes. */
final class Relocation implements Serializable {
    private static final long serialVersionUID = 1L;
    static final String METADATA = "_metadata";

    /** What Flink's Path would follow out of the directory that it is relative to. */
    private static final Pattern LEADS_AWAY = Pattern.compile("^/|:|(^|/)\\.\\.(/|$)");

    private final String source;
    private final String target;

    /** A file of the checkpoint, and how long it must be; or, of a file that Flink merged others into, how far it is needed. */
    static final class StateFile {
        final String path;
        final long length;
        final boolean isPart;

        private StateFile(String path, long length, boolean isPart) {
            this.path = path;
            this.length = length;
            this.isPart = isPart;
        }

        private StateFile and(StateFile other) throws IOException {
            if (isPart && other.isPart) {
                return length >= other.length ? this : other;
            }
            if (isPart != other.isPart || length != other.length) {
                throw new IOException(path + ": the metadata disagree on how long it is");
            }
            return this;
        }
    }

    /** @param source the directory, or its {@code _metadata} */
    Relocation(Path source, Path target) throws IOException {
        Path sealed = SealedPaths.seal(source);
        this.source = (sealed.getName().equals(METADATA) ? sealed.getParent() : sealed).toString();
        this.target = SealedPaths.seal(target).toString();
        if ((this.target + "/").startsWith(this.source + "/") || (this.source + "/").startsWith(this.target + "/")) {
            throw new IOException(this.target + ": choose a place that is neither inside " + this.source + " nor around it");
        }
    }

    String source() {
        return source;
    }

    String target() {
        return target;
    }

    /** Where {@code _metadata} goes. */
    Path metadataTarget() {
        return new Path(target, METADATA);
    }

    /** Refuses a target that holds a checkpoint: nothing of it is to be written over. To be asked before the first file is written. */
    void refuseTakenTarget() throws IOException {
        Path taken = metadataTarget();
        if (taken.getFileSystem().exists(taken)) {
            throw new IOException(taken + " is there already: choose an empty place");
        }
    }

    /** The files that the metadata name, each once. No two of them go to one place. */
    Collection<StateFile> files() throws IOException {
        Map<String, StateFile> files = new LinkedHashMap<>();
        Map<String, String> targets = new HashMap<>();
        for (Reference reference : CheckpointMetadata.of(metadata()).references()) {
            if (!reference.isDirectory()) {
                String path = place(source, reference);
                boolean isPart = reference.partEnd() >= 0;
                StateFile file = new StateFile(path, isPart ? reference.partEnd() : reference.length(), isPart);
                StateFile known = files.get(path);
                files.put(path, known == null ? file : known.and(file));
                String other = targets.putIfAbsent(moved(path), path);
                if (other != null && !other.equals(path)) {
                    throw new IOException(path + " and " + other + " would both become " + moved(path) + ": take a savepoint, and seal that anew");
                }
            }
        }
        return files.values();
    }

    /** The metadata as they are to be at the new place. */
    byte[] movedMetadata() throws IOException {
        return CheckpointMetadata.of(metadata()).relocated(reference -> moved(reference.path()));
    }

    /** Where a file goes: as it lies below the checkpoint, or below its parent, where a job's shared files are; else by its whole path. */
    String moved(String path) {
        String parent = new Path(source).getParent() + "/";
        if (path.startsWith(source + "/")) {
            return target + path.substring(source.length());
        }
        if (path.startsWith(parent)) {
            return target + "/" + path.substring(parent.length());
        }
        Path elsewhere = new Path(path);
        String authority = elsewhere.toUri().getAuthority();
        return target + "/elsewhere" + (authority == null ? "" : "/" + authority) + elsewhere.toUri().getPath();
    }

    /** Where a file is that the metadata in {@code directory} name. */
    static String place(String directory, Reference reference) throws IOException {
        if (reference.isRelative() && LEADS_AWAY.matcher(reference.path()).find()) {
            throw new IOException(directory + ": its metadata name '" + reference.path() + "', which leads out of its directory");
        }
        Path path = reference.isRelative() ? new Path(new Path(directory), reference.path()) : new Path(reference.path());
        if (!SealedPaths.isSealed(path)) {
            throw new IOException(path + " is not under a sealed path: let the job complete a sealed checkpoint first");
        }
        return path.toString();
    }

    private byte[] metadata() throws IOException {
        Path path = new Path(source, METADATA);
        try (FSDataInputStream in = path.getFileSystem().open(path)) {
            return in.readAllBytes();
        }
    }
}
