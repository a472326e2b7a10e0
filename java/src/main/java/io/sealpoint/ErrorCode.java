package io.sealpoint;

/** The kinds of failure and their stable numbers, the same in Rust, C and Java. A number is never given to another kind. */
public enum ErrorCode {
    INVALID_ARGUMENT(1, Group.GENERAL),
    CONFIG(2, Group.CONFIG),
    IO(3, Group.GENERAL),
    STATE(4, Group.GENERAL),
    INTERNAL(5, Group.GENERAL),
    UNSUPPORTED(6, Group.GENERAL),
    INTEGRITY(20, Group.INTEGRITY),
    TRUNCATED(21, Group.TRUNCATED),
    NOT_SEALED(22, Group.NOT_SEALED),
    MALFORMED(23, Group.INTEGRITY),
    UNSUPPORTED_VERSION(24, Group.POLICY),
    SUITE_NOT_ALLOWED(25, Group.POLICY),
    TENANT_NOT_ALLOWED(26, Group.POLICY),
    KEY_NOT_ALLOWED(27, Group.POLICY),
    KEY_NOT_FOUND(40, Group.KMS),
    KEY_VERSION_NOT_FOUND(41, Group.KMS),
    KEY_DISABLED(42, Group.KMS),
    ACCESS_DENIED(43, Group.KMS),
    CREDENTIALS(44, Group.KMS),
    KMS_UNAVAILABLE(45, Group.KMS),
    KMS_THROTTLED(46, Group.KMS),
    KMS_TIMEOUT(47, Group.KMS),
    WRAPPED_KEY(48, Group.KMS),
    KEYRING(49, Group.KMS),
    OUTAGE(50, Group.KMS),
    KEY_PENDING_DELETION(51, Group.KMS),
    KEY_TOO_OLD(52, Group.KMS),
    NOT_FOUND(60, Group.GENERAL),
    STORE_DENIED(61, Group.GENERAL),
    STORE_UNAVAILABLE(62, Group.GENERAL),
    STORE_THROTTLED(63, Group.GENERAL),
    STORE_FULL(64, Group.GENERAL);

    /** Which exception class a kind of failure is thrown as. */
    enum Group {
        GENERAL,
        CONFIG,
        INTEGRITY,
        TRUNCATED,
        NOT_SEALED,
        POLICY,
        KMS
    }

    private final int number;
    private final Group group;

    ErrorCode(int number, Group group) {
        this.number = number;
        this.group = group;
    }

    /** The code with this number; {@link #INTERNAL} for a number this jar does not know. */
    public static ErrorCode of(int number) {
        for (ErrorCode code : values()) {
            if (code.number == number) {
                return code;
            }
        }
        return INTERNAL;
    }

    /** The stable number. */
    public int number() {
        return number;
    }

    Group group() {
        return group;
    }
}
