package io.sealpoint.flink;

import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.IllegalConfigurationException;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.core.fs.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;

/**
 * Looks at every directory that Flink may write state to, and names those that are not sealed: in one warning each, or, with
 * {@code sealpoint.require-sealed: true}, in an error that stops the process. Silent where Sealpoint is not in use.
 */
final class DirectoryAudit {
    private static final Logger LOG = LoggerFactory.getLogger(DirectoryAudit.class);

    static final String ENABLED = Sealpoint.OPTION_PREFIX + "enabled";
    static final String REQUIRE_SEALED = Sealpoint.OPTION_PREFIX + "require-sealed";
    static final String RESTORE_PLAINTEXT = Sealpoint.OPTION_PREFIX + "restore-plaintext";

    private static final List<String> STORAGE = List.of("execution.checkpointing.storage", "state.checkpoint-storage");
    private static final List<String> BACKEND = List.of("state.backend.type", "state.backend");
    private static final List<String> HA_TYPE = List.of("high-availability.type", "high-availability");

    /** The directories, each by all the names it has had. The storage class seals the first two itself. */
    private static final List<String> CHECKPOINTS =
            List.of("execution.checkpointing.dir", "state.checkpoints.dir", "state.backend.fs.checkpointdir");

    private static final List<String> SAVEPOINTS =
            List.of("execution.checkpointing.savepoint-dir", "state.savepoints.dir", "savepoints.state.backend.fs.dir");
    private static final List<String> HA_STORAGE =
            List.of("high-availability.storageDir", "high-availability.zookeeper.storageDir", "recovery.zookeeper.storageDir");
    private static final List<String> CHANGELOG = List.of("state.changelog.dstl.dfs.base-path", "dstl.dfs.base-path");
    private static final List<String> JOB_RESULTS = List.of("job-result-store.storage-path");
    private static final List<String> APPLICATION_RESULTS = List.of("application-result-store.storage-path");
    private static final List<String> SHUFFLE = List.of("taskmanager.network.hybrid-shuffle.remote.path");
    private static final List<String> ARCHIVE = List.of("jobmanager.archive.fs.dir");
    private static final List<String> FORST = List.of("state.backend.forst.primary-dir");
    /** Values of the ForSt option that name no directory: the checkpoints' one, and the local disk. */
    private static final Set<String> FORST_SHORTCUTS = Set.of("checkpoint-dir", "local-dir");

    /** What was said already: TaskManagers audit once a subtask. */
    private static final Set<String> SAID = ConcurrentHashMap.newKeySet();

    private static final int MAX_SAID = 1000;

    private final Function<String, Optional<String>> config;
    /** What the process was started with, whatever a job says. */
    private final Function<String, Optional<String>> cluster;
    private final Function<String, Optional<String>> environment;
    private final boolean inUse;
    private final boolean ourStorage;

    private DirectoryAudit(
            Function<String, Optional<String>> config,
            Function<String, Optional<String>> cluster,
            Function<String, Optional<String>> environment,
            boolean inUse,
            boolean ourStorage) {
        this.config = config;
        this.cluster = cluster;
        this.environment = environment;
        this.inUse = inUse;
        this.ourStorage = ourStorage;
    }

    /** Of a process's configuration, at its start. */
    static DirectoryAudit ofCluster(Configuration configuration) {
        return ofCluster(configuration, Sealpoint::variable);
    }

    static DirectoryAudit ofCluster(Configuration configuration, Function<String, Optional<String>> environment) {
        Function<String, Optional<String>> config = reader(configuration);
        boolean ourStorage = first(config, STORAGE).map(Option::value).filter(DirectoryAudit::isOurs).isPresent();
        boolean configured = !Sealpoint.options(configuration.toMap()).isEmpty();
        return new DirectoryAudit(config, config, environment, configured || ourStorage, ourStorage);
    }

    /** Of the configuration that a job's checkpoint storage is made from: the cluster's under the job's. */
    static DirectoryAudit ofJob(ReadableConfig configuration) {
        return new DirectoryAudit(reader(configuration), Sealpoint.current()::option, Sealpoint::variable, true, true);
    }

    /** Whether Sealpoint is in use: one of its options is set, or its storage class. */
    boolean isNeeded() {
        return inUse;
    }

    /** Warns, or throws if sealing is required. */
    void run() {
        if (!inUse) {
            return;
        }
        boolean required = requireSealed();
        List<String> findings = findings();
        if (required && !findings.isEmpty()) {
            throw new IllegalConfigurationException(
                    REQUIRE_SEALED + " is true, but Flink would write plaintext: " + String.join("; ", findings));
        }
        findings.forEach(finding -> sayOnce(finding + " (" + REQUIRE_SEALED + ": true would make this an error)"));
    }

    /** What is not sealed, each with its option, its value and the remedy. */
    List<String> findings() {
        List<String> findings = new ArrayList<>();
        if (!ourStorage) {
            storage(findings);
            directory(findings, CHECKPOINTS, "checkpoints");
            directory(findings, SAVEPOINTS, "savepoints");
        }
        if (first(config, HA_TYPE).filter(type -> !type.value.equalsIgnoreCase("none")).isPresent()) {
            directory(findings, HA_STORAGE, "job graphs and checkpoint records (operator state and small state among them)");
        }
        directory(findings, CHANGELOG, "the state changelog");
        directory(findings, JOB_RESULTS, "job results");
        directory(findings, APPLICATION_RESULTS, "application results");
        directory(findings, SHUFFLE, "records on their way between tasks");
        directory(findings, ARCHIVE, "archived jobs");
        if (first(config, FORST).filter(option -> !FORST_SHORTCUTS.contains(option.value)).isPresent()) {
            directory(findings, FORST, "ForSt's state");
        }
        return findings;
    }

    private void storage(List<String> findings) {
        String ours = EncryptedCheckpointStorageFactory.class.getName();
        first(config, STORAGE).ifPresent(option -> findings.add(
                option + " is not Sealpoint's, so savepoints to plain paths are not sealed and nothing refuses a checkpoint with unsealed state; set it to "
                        + ours));
        first(config, BACKEND).filter(option -> option.value.equals("jobmanager")).ifPresent(option -> findings.add(
                option + " is a legacy state backend that brings its own checkpoint storage; use hashmap"));
    }

    private void directory(List<String> findings, List<String> names, String what) {
        first(config, names).filter(option -> !isSealed(option.value)).ifPresent(option -> findings.add(
                option + " is not sealed: " + what + " would be written there in clear; use " + SealedPaths.PREFIX + "... instead"));
    }

    /** Whether nothing may be in clear: {@code sealpoint.require-sealed}, of the cluster or of the job. A job cannot take it back. */
    boolean requireSealed() {
        return flag(REQUIRE_SEALED, cluster, false) || flag(REQUIRE_SEALED, config, false);
    }

    /** Whether plaintext may be restored although sealing is required. */
    boolean restorePlaintext() {
        return flag(RESTORE_PLAINTEXT, config, false);
    }

    /** What is done about manifests: the stricter of what the cluster and the job say. */
    ManifestPolicy manifests() {
        return manifests(cluster).orStricter(manifests(config));
    }

    private ManifestPolicy manifests(Function<String, Optional<String>> from) {
        Optional<String> value = environment.apply(ManifestPolicy.OPTION).or(() -> from.apply(ManifestPolicy.OPTION));
        return value.map(text -> ManifestPolicy.parse(text.trim())).orElse(ManifestPolicy.NONE);
    }

    boolean enabled() {
        return flag(ENABLED, config, true);
    }

    /** A flag, which its environment variable overrides as it does in the native library. */
    private boolean flag(String key, Function<String, Optional<String>> from, boolean otherwise) {
        Optional<String> value = environment.apply(key).or(() -> from.apply(key)).map(String::trim);
        value.filter(text -> !text.equals("true") && !text.equals("false")).ifPresent(text -> {
            throw new IllegalConfigurationException(key + " is '" + text + "'; it must be true or false");
        });
        return value.map("true"::equals).orElse(otherwise);
    }

    private static void sayOnce(String finding) {
        if (SAID.size() < MAX_SAID && SAID.add(finding)) {
            LOG.warn("Sealpoint: {}", finding);
        }
    }

    private static boolean isSealed(String directory) {
        return SealedPaths.isSealed(new Path(directory));
    }

    private static boolean isOurs(String storage) {
        return storage.equals(EncryptedCheckpointStorageFactory.class.getName());
    }

    private static Function<String, Optional<String>> reader(ReadableConfig configuration) {
        return key -> configuration.getOptional(ConfigOptions.key(key).stringType().noDefaultValue());
    }

    private static Optional<Option> first(Function<String, Optional<String>> config, List<String> names) {
        for (String name : names) {
            Optional<String> value = config.apply(name).filter(text -> !text.isBlank());
            if (value.isPresent()) {
                return Optional.of(new Option(name, value.get()));
            }
        }
        return Optional.empty();
    }

    private static final class Option {
        private final String name;
        private final String value;

        Option(String name, String value) {
            this.name = name;
            this.value = value;
        }

        String value() {
            return value;
        }

        @Override
        public String toString() {
            return name + ": " + value;
        }
    }
}
