package io.sealpoint;

/**
 * How bytes cross between Java arrays and the native library (option {@code sealpoint.jni.arrays}).
 *
 * <p>Critical sections cost no copy, but before JDK 22 they hold off the garbage collector, and in a nearly full heap allocating threads
 * then die of a spurious OutOfMemoryError. From JDK 22 on the collector pins the array's region instead (JEP 423).
 */
public enum ArrayMode {
    CRITICAL,
    DIRECT;

    private static final int FIRST_JDK_THAT_PINS = 22;

    /** Parses auto, critical or direct. */
    public static ArrayMode parse(String value) throws SealpointException {
        switch (value) {
            case "auto":
                return Runtime.version().feature() >= FIRST_JDK_THAT_PINS ? CRITICAL : DIRECT;
            case "critical":
                return CRITICAL;
            case "direct":
                return DIRECT;
            default:
                throw SealpointException.of(
                        ErrorCode.CONFIG, "sealpoint.jni.arrays is '" + value + "'; it must be auto, critical or direct");
        }
    }
}
