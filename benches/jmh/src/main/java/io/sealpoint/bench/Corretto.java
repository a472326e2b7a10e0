package io.sealpoint.bench;

import com.amazon.corretto.crypto.provider.AmazonCorrettoCryptoProvider;
import java.security.Provider;

/** Amazon Corretto Crypto Provider: aws-lc under JCE, the strongest peer. In a class of its own, so that only its JVM loads it. */
final class Corretto {

    private Corretto() {}

    static Provider provider() {
        AmazonCorrettoCryptoProvider provider = AmazonCorrettoCryptoProvider.INSTANCE;
        provider.assertHealthy();
        return provider;
    }
}
