package io.sealpoint;

/** A sealed file was required, and this one does not begin like one. */
public final class NotSealedException extends SealpointException {
    private static final long serialVersionUID = 1L;

    public NotSealedException(int code, String message) {
        super(code, message);
    }
}
