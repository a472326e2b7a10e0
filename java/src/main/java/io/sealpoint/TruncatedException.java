package io.sealpoint;

/** The file ends before its end: it was cut, or its writer never closed it. */
public final class TruncatedException extends SealpointException {
    private static final long serialVersionUID = 1L;

    public TruncatedException(int code, String message) {
        super(code, message);
    }
}
