package io.sealpoint;

import java.io.IOException;

/**
 * What Sealpoint throws. The message says what happened, to which file or key, and what to do next; {@link #code()} is a stable number that
 * programs may rely on (see {@link ErrorCode}). No message ever holds key bytes or plaintext.
 */
public class SealpointException extends IOException {
    private static final long serialVersionUID = 1L;

    private final int code;

    public SealpointException(int code, String message) {
        super(message);
        this.code = code;
    }

    /** The exception class that belongs to a code. The native library calls this. */
    public static SealpointException of(int code, String message) {
        switch (ErrorCode.of(code).group()) {
            case CONFIG:
                return new ConfigException(code, message);
            case INTEGRITY:
                return new IntegrityException(code, message);
            case TRUNCATED:
                return new TruncatedException(code, message);
            case NOT_SEALED:
                return new NotSealedException(code, message);
            case POLICY:
                return new PolicyException(code, message);
            case KMS:
                return new KmsException(code, message);
            case GENERAL:
                return new SealpointException(code, message);
            default:
                throw new IllegalStateException("a group without an exception class");
        }
    }

    static SealpointException of(ErrorCode code, String message) {
        return of(code.number(), message);
    }

    /** The stable number of the kind of failure. */
    public int code() {
        return code;
    }

    /** The same kind of failure, its text led by the file it happened to. */
    public SealpointException at(Object place) {
        SealpointException led = of(code, place + ": " + getMessage());
        led.setStackTrace(getStackTrace());
        for (Throwable suppressed : getSuppressed()) {
            led.addSuppressed(suppressed);
        }
        if (getCause() != null) {
            led.initCause(getCause());
        }
        return led;
    }
}
