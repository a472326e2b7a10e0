package io.sealpoint.flink;

import io.sealpoint.flink.CheckpointManifests.HeadAndLength;

import org.apache.flink.core.fs.Path;

import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * What is known of the files of each job's last checkpoint, so that a shared file's head is read once and not with every checkpoint that needs
 * it. State files are never written again under the same name. Bounded: the jobs that have not checkpointed for longest are forgotten first.
 */
final class RecentHeads {
    private static final int MOST = 100_000;

    private final Map<Path, Map<String, HeadAndLength>> jobs = new LinkedHashMap<>();
    private int size;

    /** Of the checkpoint before this one. */
    synchronized Map<String, HeadAndLength> of(Path checkpoint) {
        return jobs.getOrDefault(checkpoint.getParent(), Map.of());
    }

    /** Savepoints share nothing with the checkpoint that follows, and are not remembered. */
    synchronized void remember(Path checkpoint, Map<String, HeadAndLength> files) {
        if (!checkpoint.getName().startsWith("chk-")) {
            return;
        }
        Map<String, HeadAndLength> before = jobs.remove(checkpoint.getParent());
        size -= before == null ? 0 : before.size();
        if (files.size() > MOST) {
            return;
        }
        jobs.put(checkpoint.getParent(), files);
        size += files.size();
        for (Iterator<Map<String, HeadAndLength>> oldest = jobs.values().iterator(); size > MOST; ) {
            size -= oldest.next().size();
            oldest.remove();
        }
    }
}
