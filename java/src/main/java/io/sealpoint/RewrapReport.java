package io.sealpoint;

/** What came of a rewrap. */
public final class RewrapReport {
    private final long failures;
    private final String json;

    RewrapReport(long failures, String json) {
        this.failures = failures;
        this.json = json;
    }

    /** How many things failed, each of which the report lists; what is put right is done by another rewrap. */
    public long failures() {
        return failures;
    }

    /** All of it, as {@code sealpoint rewrap --json} prints it. */
    public String json() {
        return json;
    }

    @Override
    public String toString() {
        return json;
    }
}
