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

/** Whole small files whose data key is cached: what a restore of many handles, and a small checkpoint, pay a file. */
@State(Scope.Benchmark)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
public class FileBench {

    @Param("sealpoint")
    String peer;

    private Peer chosen;
    private SealedFile small;
    private final byte[] block = SealedFile.block();
    private final CountingSink sink = new CountingSink();

    @Setup
    public void prepare() throws Exception {
        chosen = Peer.named(peer);
        small = SealedFile.of(chosen, 4096);
    }

    @Benchmark
    @BenchmarkMode(Mode.AverageTime)
    public long open4KiB() throws Exception {
        long total = 0;
        try (InputStream stream = chosen.opening(small)) {
            for (int count = stream.read(block, 0, block.length); count >= 0; count = stream.read(block, 0, block.length)) {
                total += count;
            }
        }
        if (total != 4096) {
            throw new IllegalStateException("opened " + total + " bytes of 4096");
        }
        return total;
    }

    @Benchmark
    @BenchmarkMode(Mode.SampleTime)
    public CountingSink seal1MiB() throws Exception {
        try (OutputStream stream = chosen.sealing(sink)) {
            for (int written = 0; written < 1 << 20; written += block.length) {
                stream.write(block, 0, block.length);
            }
        }
        return sink;
    }
}
