package io.sealpoint.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.GeneralSecurityException;

/** One way to seal and to open a file as a stream. Keys are ready before the first call: only the data path is compared. */
public interface Peer {

    /** Chunk size of every peer but Tink, whose segment size is part of its name. */
    int CHUNK = 16 * 1024;

    /** Returns once the keys are there, for a peer that fetches them in the background. */
    default void awaitKeys() throws Exception {}

    /** A stream that seals what is written to it into {@code inner}. */
    OutputStream sealing(OutputStream inner) throws IOException, GeneralSecurityException;

    /** A stream that opens what {@link #sealing} wrote. */
    InputStream opening(SealedFile sealed) throws IOException, GeneralSecurityException;

    /** The peer of that name, loaded by name so that the others' classes stay out of its JVM. */
    static Peer named(String name) throws Exception {
        return switch (name) {
            case "sealpoint" -> new SealpointPeer();
            case "jce" -> new GcmPeer(null);
            case "corretto" -> new GcmPeer(Corretto.provider());
            case "tink-1mb" -> new TinkPeer("AES256_GCM_HKDF_1MB");
            case "tink-4kb" -> new TinkPeer("AES256_GCM_HKDF_4KB");
            default -> throw new IllegalArgumentException("no peer is named '" + name + "'");
        };
    }
}
