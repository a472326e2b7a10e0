package io.sealpoint.bench;

import java.io.InputStream;
import java.io.OutputStream;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;

/** A file of 64 MiB through a stream in blocks of 16 KiB, from its first byte to its close. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
public class StreamBench {

    /** Plaintext bytes of an operation. */
    static final int FILE = 64 << 20;

    @Param("sealpoint")
    String peer;

    private Peer chosen;
    private SealedFile sealed;
    private final byte[] block = SealedFile.block();
    private final CountingSink sink = new CountingSink();

    @Setup
    public void prepare() throws Exception {
        chosen = Peer.named(peer);
        sealed = SealedFile.of(chosen, FILE);
    }

    @Benchmark
    public CountingSink seal() throws Exception {
        try (OutputStream stream = chosen.sealing(sink)) {
            for (int written = 0; written < FILE; written += block.length) {
                stream.write(block, 0, block.length);
            }
        }
        return sink;
    }

    @Benchmark
    public long open() throws Exception {
        long total = 0;
        try (InputStream stream = chosen.opening(sealed)) {
            for (int count = stream.read(block, 0, block.length); count >= 0; count = stream.read(block, 0, block.length)) {
                total += count;
            }
        }
        if (total != FILE) {
            throw new IllegalStateException("opened " + total + " bytes of " + FILE);
        }
        return total;
    }
}
