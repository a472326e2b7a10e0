package io.sealpoint.harness;

import java.util.LinkedHashMap;
import java.util.Map;

/** A run of the customer job: how much of it, with which settings, and from which state. */
public record JobSpec(
        int customers, int ordersEach, int parallelism, int workMicros, Map<String, String> settings, String restoreFrom, Claim claim) {

    /** Who owns the state that a job is restored from. */
    public enum Claim {
        CLAIM,
        NO_CLAIM
    }

    public static JobSpec of(int customers, int ordersEach) {
        return new JobSpec(customers, ordersEach, 2, 0, Map.of(), null, Claim.NO_CLAIM);
    }

    public JobSpec with(String key, String value) {
        Map<String, String> more = new LinkedHashMap<>(settings);
        more.put(key, value);
        return new JobSpec(customers, ordersEach, parallelism, workMicros, Map.copyOf(more), restoreFrom, claim);
    }

    public JobSpec parallelism(int wanted) {
        return new JobSpec(customers, ordersEach, wanted, workMicros, settings, restoreFrom, claim);
    }

    /** Makes every order take this long, so that orders queue up in front of the customers' records. */
    public JobSpec workMicros(int micros) {
        return new JobSpec(customers, ordersEach, parallelism, micros, settings, restoreFrom, claim);
    }

    public JobSpec restoredFrom(String path, Claim mode) {
        return new JobSpec(customers, ordersEach, parallelism, workMicros, settings, path, mode);
    }

    public long orders() {
        return (long) customers * ordersEach;
    }
}
