package io.sealpoint.bench;

import com.google.crypto.tink.KeysetHandle;
import com.google.crypto.tink.RegistryConfiguration;
import com.google.crypto.tink.StreamingAead;
import com.google.crypto.tink.streamingaead.PredefinedStreamingAeadParameters;
import com.google.crypto.tink.streamingaead.StreamingAeadConfig;
import com.google.crypto.tink.streamingaead.StreamingAeadParameters;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.GeneralSecurityException;

/** Tink's streaming AEAD over the JDK's AES-GCM; the segment size belongs to the key. */
final class TinkPeer implements Peer {

    private static final byte[] ASSOCIATED = new byte[12];

    private final StreamingAead aead;

    TinkPeer(String parameters) throws GeneralSecurityException {
        StreamingAeadConfig.register();
        StreamingAeadParameters chosen = switch (parameters) {
            case "AES256_GCM_HKDF_1MB" -> PredefinedStreamingAeadParameters.AES256_GCM_HKDF_1MB;
            case "AES256_GCM_HKDF_4KB" -> PredefinedStreamingAeadParameters.AES256_GCM_HKDF_4KB;
            default -> throw new IllegalArgumentException(parameters);
        };
        this.aead = KeysetHandle.generateNew(chosen).getPrimitive(RegistryConfiguration.get(), StreamingAead.class);
    }

    @Override
    public OutputStream sealing(OutputStream inner) throws IOException, GeneralSecurityException {
        return aead.newEncryptingStream(inner, ASSOCIATED);
    }

    @Override
    public InputStream opening(SealedFile sealed) throws IOException, GeneralSecurityException {
        return aead.newDecryptingStream(sealed.stream(), ASSOCIATED);
    }
}
