package io.sealpoint;

/** How data keys are to be wrapped anew. */
public final class RewrapOptions {
    String to;
    boolean dryRun;
    int kmsCallsPerSecond;
    int storeRequestsPerSecond;

    /** By this one of the configured keys only: "primary", or the name of a fallback. */
    public RewrapOptions to(String name) {
        to = name;
        return this;
    }

    /** Only says what would be done. */
    public RewrapOptions dryRun() {
        dryRun = true;
        return this;
    }

    /** At most so many calls a second to key services. */
    public RewrapOptions kmsCallsPerSecond(int most) {
        kmsCallsPerSecond = positive(most);
        return this;
    }

    /** At most so many requests a second to the store. */
    public RewrapOptions storeRequestsPerSecond(int most) {
        storeRequestsPerSecond = positive(most);
        return this;
    }

    private static int positive(int most) {
        if (most < 1) {
            throw new IllegalArgumentException("at least one a second, not " + most);
        }
        return most;
    }
}
