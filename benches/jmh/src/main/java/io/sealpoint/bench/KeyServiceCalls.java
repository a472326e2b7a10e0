package io.sealpoint.bench;

import io.sealpoint.SealpointEngine;
import java.io.OutputStream;
import java.util.Map;

/**
 * What checkpoints cost the key service: {@code KeyServiceCalls CHECKPOINTS FILES} seals that many checkpoints of that
 * many files, each checkpoint under a fresh data key, and prints, from the engine's own counters, the calls to the key
 * service after the first checkpoint, and how often a thread that seals waited for one.
 */
final class KeyServiceCalls {

    private static final String CALLS = "heliosdb_kms_call_duration_seconds_count";
    private static final String WAITED = "heliosdb_data_keys_waited_total";
    private static final String DRAWN = "heliosdb_data_keys_drawn_total";

    private KeyServiceCalls() {}

    public static void main(String[] arguments) throws Exception {
        int checkpoints = Integer.parseInt(arguments[0]);
        int files = Integer.parseInt(arguments[1]);
        SealpointPeer peer = new SealpointPeer();
        SealpointEngine engine = peer.engine();
        // The first key of a process has to be there before anything can be sealed.
        checkpoint(peer, 0, files);
        Map<String, Double> before = Metrics.of(engine.metrics());
        for (int id = 1; id <= checkpoints; id++) {
            Thread.sleep(20); // checkpoints do not follow one another without a pause; the next key is drawn in it
            checkpoint(peer, id, files);
        }
        Map<String, Double> after = Metrics.of(engine.metrics());
        System.out.printf("%.0f %.0f %.0f%n", grown(before, after, CALLS), grown(before, after, DRAWN), grown(before, after, WAITED));
    }

    private static void checkpoint(SealpointPeer peer, int id, int files) throws Exception {
        peer.engine().beginEpoch("/checkpoints", id);
        byte[] block = SealedFile.block();
        for (int file = 0; file < files; file++) {
            try (OutputStream stream = peer.sealing(new CountingSink())) {
                stream.write(block, 0, block.length);
            }
        }
    }

    private static double grown(Map<String, Double> before, Map<String, Double> after, String name) {
        return after.getOrDefault(name, Double.NaN) - before.getOrDefault(name, 0.0);
    }
}
