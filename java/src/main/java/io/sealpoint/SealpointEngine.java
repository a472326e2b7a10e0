package io.sealpoint;

import java.util.Map;

/**
 * One configuration at work: its keys, its caches, its connection to the key service. Thread safe; meant to live as long as the process. Keys
 * stay in native memory and never enter the Java heap.
 */
public final class SealpointEngine extends NativeResource {
    private SealpointEngine(long address) {
        super(address, Native::engineClose);
    }

    /**
     * Opens an engine.
     *
     * @param config the options of docs/CONFIG.md, without the "sealpoint." prefix
     */
    public static SealpointEngine open(Map<String, String> config) throws SealpointException {
        NativeLoader.load();
        String[] keysAndValues = new String[config.size() * 2];
        int next = 0;
        for (Map.Entry<String, String> option : config.entrySet()) {
            keysAndValues[next++] = option.getKey();
            keysAndValues[next++] = option.getValue();
        }
        return new SealpointEngine(Native.engineOpen(keysAndValues));
    }

    /** The version of the jar, which is that of the native library in it. */
    public static String version() throws SealpointException {
        return NativeLoader.version();
    }

    /**
     * A sealer for one new file.
     *
     * @param path where the file will lie; decides the tenant
     * @param subject the name that is bound into the file, or null if the file may be renamed
     */
    public Sealer sealer(String path, String subject) throws SealpointException {
        long engine = acquire();
        try {
            return Sealer.own(Native.sealerOpen(engine, path, subject));
        } finally {
            release();
        }
    }

    /**
     * An opener for one file, or a negative-length hint: see {@link Opener#open}.
     */
    Opener.Result opener(String path, String subject, ByteSource source, byte[] head, int off, int len) throws SealpointException {
        long engine = acquire();
        try {
            return Opener.own(Native.openerOpen(engine, path, subject, source, head, off, len));
        } finally {
            release();
        }
    }

    /** Notes that a checkpoint begins, which by default starts the use of a fresh data key. Cheap; never calls the key service. */
    public void beginEpoch(String scope, long checkpointId) throws SealpointException {
        long engine = acquire();
        try {
            Native.engineBeginEpoch(engine, scope, checkpointId);
        } finally {
            release();
        }
    }

    /**
     * From now on this process looks after the key-encryption keys, which one process of a cluster should: it rotates them by their age
     * ({@code key-rotation.*}). May be called any number of times, and never waits.
     */
    public void coordinate() throws SealpointException {
        long engine = acquire();
        try {
            Native.engineCoordinate(engine);
        } finally {
            release();
        }
    }

    /** As {@link #rewrap(String, RewrapOptions)}, under all configured keys. */
    public RewrapReport rewrap(String uri) throws SealpointException {
        return rewrap(uri, new RewrapOptions());
    }

    /**
     * Wraps the data keys of sealed files anew, under the current versions of the configured keys, into the key files beside them: what
     * {@code sealpoint rewrap} does. May run while jobs checkpoint, and again at any time. What fails keeps nothing else from being done, and is
     * in the report. Waits for the store, which is reached without Flink, and the key service.
     *
     * @param uri a path or URI of a checkpoint, a savepoint, a directory above them, or one file
     */
    public RewrapReport rewrap(String uri, RewrapOptions options) throws SealpointException {
        long engine = acquire();
        try {
            String[] report =
                    Native.engineRewrap(engine, uri, options.to, options.dryRun, options.kmsCallsPerSecond, options.storeRequestsPerSecond);
            return new RewrapReport(Long.parseLong(report[0]), report[1]);
        } finally {
            release();
        }
    }

    /** Takes the native side's pending log lines, each "LEVEL message". */
    public String[] drainLog() throws SealpointException {
        long engine = acquire();
        try {
            return Native.engineDrainLog(engine);
        } finally {
            release();
        }
    }

    /** All metrics in Prometheus' text format. */
    public String metrics() throws SealpointException {
        long engine = acquire();
        try {
            return Native.engineMetrics(engine);
        } finally {
            release();
        }
    }
}
