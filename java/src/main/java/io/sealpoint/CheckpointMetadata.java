package io.sealpoint;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;

/** The plaintext of Flink's {@code _metadata}, of any version that Flink 1.20 and 2.x read: which files it names, and the same with others. */
public final class CheckpointMetadata {
    private final byte[] bytes;
    private final List<Reference> references;

    private CheckpointMetadata(byte[] bytes, List<Reference> references) {
        this.bytes = bytes;
        this.references = Collections.unmodifiableList(references);
    }

    /** A file, or a directory, that the metadata name. */
    public static final class Reference {
        private final String kind;
        private final long number;
        private final boolean relative;
        private final String path;

        private Reference(String described) {
            String[] words = described.split(" ", 4);
            kind = words[0];
            number = Long.parseLong(words[1]);
            relative = words[2].equals("relative");
            path = words[3];
        }

        /** Where it is: relative to the directory of the metadata if {@link #isRelative}, else as Flink's {@code Path.toString} says it. */
        public String path() {
            return path;
        }

        public boolean isRelative() {
            return relative;
        }

        /** No file: merged files lie in it, each of which is named too. */
        public boolean isDirectory() {
            return kind.equals("directory");
        }

        /** How long the file is, if all of it belongs to the checkpoint and Flink says so; else -1. */
        public long length() {
            return kind.equals("whole") ? number : -1;
        }

        /** Where the part of the file that belongs to the checkpoint ends, if it is a part; else -1. Such a file may have no end. */
        public long partEnd() {
            return kind.equals("segment") ? number : -1;
        }
    }

    public static CheckpointMetadata of(byte[] bytes) throws SealpointException {
        NativeLoader.load();
        List<Reference> references = new ArrayList<>();
        for (String described : Native.metadataReferences(bytes)) {
            references.add(new Reference(described));
        }
        return new CheckpointMetadata(bytes, references);
    }

    /** In the order in which they stand; one file may be named many times. */
    public List<Reference> references() {
        return references;
    }

    /** The bytes of the same metadata, each reference that is not relative with the path that {@code moved} gives. */
    public byte[] relocated(Function<Reference, String> moved) throws SealpointException {
        String[] paths = new String[references.size()];
        for (int i = 0; i < paths.length; i++) {
            Reference reference = references.get(i);
            paths[i] = reference.isRelative() ? null : moved.apply(reference);
        }
        return Native.metadataRelocated(bytes, paths);
    }
}
