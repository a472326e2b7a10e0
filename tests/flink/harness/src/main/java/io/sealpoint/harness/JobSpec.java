package io.sealpoint.harness;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A run of the customer job: how much of it, with which settings, and from which state. */
public record JobSpec(
        int customers,
        int ordersEach,
        int parallelism,
        int workMicros,
        Map<String, String> settings,
        List<String> moreArguments,
        String restoreFrom,
        Claim claim) {

    /** Who owns the state that a job is restored from. */
    public enum Claim {
        CLAIM,
        NO_CLAIM
    }

    public static JobSpec of(int customers, int ordersEach) {
        return new JobSpec(customers, ordersEach, 2, 0, Map.of(), List.of(), null, Claim.NO_CLAIM);
    }

    public JobSpec with(String key, String value) {
        Map<String, String> more = new LinkedHashMap<>(settings);
        more.put(key, value);
        return new JobSpec(customers, ordersEach, parallelism, workMicros, Map.copyOf(more), moreArguments, restoreFrom, claim);
    }

    /** State of any size goes into files: by default what is small goes into the checkpoint's metadata. */
    public JobSpec allInFiles() {
        return with("execution.checkpointing.data-inline-threshold", "0 b");
    }

    public JobSpec parallelism(int wanted) {
        return new JobSpec(customers, ordersEach, wanted, workMicros, settings, moreArguments, restoreFrom, claim);
    }

    /** Makes every order take this long, so that orders queue up in front of the customers' records. */
    public JobSpec workMicros(int micros) {
        return new JobSpec(customers, ordersEach, parallelism, micros, settings, moreArguments, restoreFrom, claim);
    }

    public JobSpec argument(String name, String value) {
        List<String> more = new ArrayList<>(moreArguments);
        more.addAll(List.of(name, value));
        return new JobSpec(customers, ordersEach, parallelism, workMicros, settings, List.copyOf(more), restoreFrom, claim);
    }

    public JobSpec restoredFrom(String path, Claim mode) {
        return new JobSpec(customers, ordersEach, parallelism, workMicros, settings, moreArguments, path, mode);
    }

    public long orders() {
        return (long) customers * ordersEach;
    }

    Map<String, String> allSettings() {
        Map<String, String> all = new LinkedHashMap<>(settings);
        if (restoreFrom != null) {
            all.put("execution.state-recovery.path", restoreFrom);
            all.put("execution.state-recovery.claim-mode", claim.name());
        }
        return all;
    }
}
