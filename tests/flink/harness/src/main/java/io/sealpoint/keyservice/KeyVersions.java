package io.sealpoint.keyservice;

import java.util.List;

/** A key service that keeps versions of a key, and can disable the old ones and go on with the newest. */
public interface KeyVersions {

    /** A new version wraps from now on. @return what was done */
    String rotate() throws Exception;

    /** What the first version wrapped opens no more, which can be taken back. @return what was done */
    String disableFirst() throws Exception;

    void enableFirst() throws Exception;

    /** What the error must say of a file that needs the first version: which key, which version, and what to do. */
    default List<String> complaintOfFirst() {
        return List.of("version 1", "enable that version again", "sealpoint rewrap");
    }
}
