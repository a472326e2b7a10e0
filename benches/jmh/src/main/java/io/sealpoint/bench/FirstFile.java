package io.sealpoint.bench;

import java.io.OutputStream;

/**
 * The first 64 MiB that a fresh JVM seals: {@code FirstFile PEER} prints the seconds that setting the peer up took
 * (its library loaded, its key ready) and the seconds from the first sealing call to the close of the file.
 */
final class FirstFile {

    private FirstFile() {}

    public static void main(String[] arguments) throws Exception {
        byte[] block = SealedFile.block();
        CountingSink sink = new CountingSink();
        long begun = System.nanoTime();
        Peer peer = Peer.named(arguments[0]);
        peer.awaitKeys();
        long ready = System.nanoTime();
        try (OutputStream stream = peer.sealing(sink)) {
            for (int written = 0; written < StreamBench.FILE; written += block.length) {
                stream.write(block, 0, block.length);
            }
        }
        long done = System.nanoTime();
        if (sink.count() < StreamBench.FILE) {
            throw new IllegalStateException("sealed only " + sink.count() + " bytes");
        }
        System.out.printf("%.6f %.6f%n", (ready - begun) / 1e9, (done - ready) / 1e9);
    }
}
