package io.sealpoint;

/** The bytes are not what was sealed: tampered with, damaged, swapped, or opened with the wrong key. */
public final class IntegrityException extends SealpointException {
    private static final long serialVersionUID = 1L;

    public IntegrityException(int code, String message) {
        super(code, message);
    }
}
