package io.sealpoint;

/** The configuration is missing, unknown or contradictory. */
public final class ConfigException extends SealpointException {
    private static final long serialVersionUID = 1L;

    public ConfigException(int code, String message) {
        super(code, message);
    }
}
