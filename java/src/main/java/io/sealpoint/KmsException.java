package io.sealpoint;

/** The key service could not or would not do what was asked. */
public final class KmsException extends SealpointException {
    private static final long serialVersionUID = 1L;

    public KmsException(int code, String message) {
        super(code, message);
    }
}
