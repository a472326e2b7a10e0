package io.sealpoint;

/** The file is sealed, but the configuration does not allow this process to open it. */
public final class PolicyException extends SealpointException {
    private static final long serialVersionUID = 1L;

    public PolicyException(int code, String message) {
        super(code, message);
    }
}
