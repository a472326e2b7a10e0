package io.sealpoint.flink;

import io.sealpoint.ArrayMode;
import io.sealpoint.SealpointEngine;
import io.sealpoint.SealpointException;

import org.apache.flink.configuration.Configuration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;

/**
 * What all sealed file systems of this process share: the configuration, and one engine for it. The engine opens at first use and stays,
 * for files are read and written as long as the process lives. No option is a secret: secrets lie in files that options name.
 */
final class Sealpoint {
    static final String OPTION_PREFIX = "sealpoint.";

    private static final Logger LOG = LoggerFactory.getLogger(Sealpoint.class);
    private static final String ARRAYS = OPTION_PREFIX + "jni.arrays";

    private static Sealpoint current = new Sealpoint(Map.of());

    private final Map<String, String> options;
    private SealpointEngine engine;
    private ArrayMode arrays;

    private Sealpoint(Map<String, String> options) {
        this.options = options;
    }

    /** Takes over Flink's configuration. The same options keep the engine that is open. */
    static synchronized void configure(Configuration configuration) {
        Map<String, String> options = options(configuration.toMap());
        if (!options.equals(current.options)) {
            current = new Sealpoint(options);
        }
    }

    static synchronized Sealpoint current() {
        return current;
    }

    /** The same configuration with an engine of its own, whose data keys are drawn now and have sealed nothing. */
    Sealpoint withFreshKeys() {
        return new Sealpoint(options);
    }

    /** Frees the engine of one that nobody else uses. */
    synchronized void close() {
        if (engine != null) {
            engine.close();
        }
    }

    /** The options that are ours, without the prefix. */
    static Map<String, String> options(Map<String, String> configuration) {
        Map<String, String> options = new TreeMap<>();
        configuration.forEach((key, value) -> {
            if (key.startsWith(OPTION_PREFIX)) {
                options.put(key.substring(OPTION_PREFIX.length()), value);
            }
        });
        return options;
    }

    /** The value of {@code sealpoint.x} in this process's configuration. */
    Optional<String> option(String key) {
        return Optional.ofNullable(options.get(key.substring(OPTION_PREFIX.length())));
    }

    /** The environment variable of {@code sealpoint.x-y.z}, {@code SEALPOINT_X_Y_Z}, which overrides the configuration. */
    static Optional<String> variable(String key) {
        return Optional.ofNullable(System.getenv(variableName(key)));
    }

    static String variableName(String key) {
        return key.toUpperCase(Locale.ROOT).replace('.', '_').replace('-', '_');
    }

    static ArrayMode arrays(Function<String, Optional<String>> environment, Function<String, Optional<String>> config) throws SealpointException {
        return ArrayMode.parse(environment.apply(ARRAYS).or(() -> config.apply(ARRAYS)).orElse("auto").trim());
    }

    synchronized SealpointEngine engine() throws IOException {
        if (engine == null) {
            arrays = arrays(Sealpoint::variable, this::option);
            engine = SealpointEngine.open(options);
            LOG.info(
                    "Sealpoint {} seals what Flink writes under sealed+ paths; options {}, arrays cross to native code as {}.",
                    SealpointEngine.version(),
                    options,
                    arrays.name().toLowerCase(Locale.ROOT));
            drainLog();
        }
        return engine;
    }

    synchronized ArrayMode arrays() throws IOException {
        engine();
        return arrays;
    }

    /** Notes that a checkpoint of a job begins: by default it gets a data key of its own. */
    void beginEpoch(String job, long checkpointId) throws IOException {
        engine().beginEpoch(job, checkpointId);
        drainLog();
    }

    /** From now on this process, a JobManager, rotates the key-encryption keys by their age. */
    void coordinate() throws IOException {
        engine().coordinate();
        drainLog();
    }

    /** Hands the native side's warnings to Flink's log. */
    void drainLog() {
        try {
            for (String line : engine().drainLog()) {
                int space = line.indexOf(' ');
                String level = space < 0 ? "" : line.substring(0, space);
                String text = space < 0 ? line : line.substring(space + 1);
                if (level.equals("ERROR")) {
                    LOG.error("{}", text);
                } else if (level.equals("WARN")) {
                    LOG.warn("{}", text);
                } else if (level.equals("DEBUG") || level.equals("TRACE")) {
                    LOG.debug("{}", text);
                } else {
                    LOG.info("{}", text);
                }
            }
        } catch (IOException error) {
            LOG.warn("Cannot read the log of the native library", error);
        }
    }
}
