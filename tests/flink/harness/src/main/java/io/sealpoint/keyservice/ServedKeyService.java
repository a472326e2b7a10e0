package io.sealpoint.keyservice;

import java.io.IOException;

/** A key service that is a process of its own: it dies and comes back as that process does. */
interface ServedKeyService extends KeyService {

    ServerProcess server();

    @Override
    default void kill() {
        server().close();
    }

    @Override
    default void revive() throws IOException, InterruptedException {
        server().start();
    }

    @Override
    default void close() {
        server().close();
    }
}
