package io.sealpoint.flink;

import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.core.fs.FSDataOutputStream;
import org.apache.flink.core.fs.FileSystem.WriteMode;
import org.apache.flink.core.fs.Path;

import java.io.IOException;

/** Writes the metadata once every file is there. Runs alone; an attempt after a failure is given every file again. */
final class SealMetadataAnew extends RichMapFunction<String, String> {
    private static final long serialVersionUID = 1L;

    private final Relocation relocation;
    private final int files;
    private transient int seen;

    SealMetadataAnew(Relocation relocation, int files) {
        this.relocation = relocation;
        this.files = files;
    }

    @Override
    public String map(String file) throws IOException {
        if (++seen < files) {
            return file;
        }
        byte[] metadata = relocation.movedMetadata();
        Path target = relocation.metadataTarget();
        try (FreshKeys keys = new FreshKeys(target);
                FSDataOutputStream out = keys.fileSystem().create(target, WriteMode.OVERWRITE)) {
            out.write(metadata);
        }
        SealFileAnew.compare(target, SealFileAnew.sha256().digest(metadata), SealFileAnew.read(target, metadata.length, false, null));
        return target.toString();
    }
}
