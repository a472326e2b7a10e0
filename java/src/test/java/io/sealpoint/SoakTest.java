package io.sealpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Threads that seal and open beside threads that allocate, in a heap that is nearly full: nothing dies, and -Xcheck:jni has nothing to say. With
 * {@code sealpoint.jni.arrays: critical} on a JDK older than 22 the same load ends in a spurious OutOfMemoryError (see {@link ArrayMode}).
 */
class SoakTest {
    /** Short unless asked otherwise: {@code make soak} takes minutes. */
    private static final int SECONDS = Integer.getInteger("soak.seconds", 6);

    private static final int HEAP_MB = 150;
    private static final int LIVE_MB = 100;
    private static final int SEALERS = 4;
    private static final int ALLOCATORS = 2;

    @ParameterizedTest
    @ValueSource(strings = {"-XX:+UseG1GC", "-XX:+UseParallelGC"})
    void nothing_dies_in_a_nearly_full_heap(String collector) throws Exception {
        soak("auto", SECONDS, "-Xmx" + HEAP_MB + "m", collector);
    }

    private static void soak(String mode, int seconds, String... jvm) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(Paths.get(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of(jvm));
        command.add("-Xcheck:jni");
        if (Runtime.version().feature() >= 24) {
            command.add("--enable-native-access=ALL-UNNAMED");
        }
        command.addAll(List.of("-cp", System.getProperty("java.class.path"), Soak.class.getName(), mode, String.valueOf(seconds)));
        TestKeys.options().forEach((key, value) -> command.addAll(List.of(key, value)));
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals("alive\n", output);
        assertEquals(0, process.waitFor());
    }

    /** The load, in a process of its own: array mode, seconds, then the engine's options. */
    static final class Soak {
        /** Written only: what it held before is garbage. */
        private static volatile byte[] garbage;

        private Soak() {}

        public static void main(String[] arguments) throws Exception {
            ArrayMode mode = ArrayMode.parse(arguments[0]);
            long end = System.nanoTime() + Integer.parseInt(arguments[1]) * 1_000_000_000L;
            String[] options = Arrays.copyOfRange(arguments, 2, arguments.length);
            List<byte[]> live = new ArrayList<>();
            for (int i = 0; i < LIVE_MB * 4; i++) {
                live.add(new byte[256 * 1024]);
            }
            try (SealpointEngine engine = SealpointEngine.open(map(options))) {
                ExecutorService threads = Executors.newFixedThreadPool(SEALERS + ALLOCATORS);
                List<Future<Void>> running = new ArrayList<>();
                for (int i = 0; i < SEALERS; i++) {
                    running.add(threads.submit(sealAndOpen(engine, mode, end)));
                }
                for (int i = 0; i < ALLOCATORS; i++) {
                    running.add(threads.submit(allocate(live, end, i)));
                }
                for (Future<Void> thread : running) {
                    thread.get();
                }
                threads.shutdown();
            }
            System.out.println("alive");
        }

        private static Callable<Void> sealAndOpen(SealpointEngine engine, ArrayMode mode, long end) {
            return () -> {
                byte[] plain = new byte[200_000];
                byte[] sealed = new byte[300_000];
                while (System.nanoTime() < end) {
                    int[] length = {0};
                    try (SealedOutputStream out = new SealedOutputStream(into(sealed, length), engine.sealer("/soak", null), mode, "/soak")) {
                        for (int at = 0; at < plain.length; at += 20_000) {
                            out.write(plain, at, 20_000);
                        }
                    }
                    byte[] block = new byte[16_384];
                    long total = 0;
                    try (SealedInputStream in = SealedInputStream.open(engine, from(sealed, length[0]), mode, "/soak", null)) {
                        for (int read = in.read(block); read >= 0; read = in.read(block)) {
                            total += read;
                        }
                    }
                    if (total != plain.length) {
                        throw new IOException("read " + total);
                    }
                }
                return null;
            };
        }

        /** Garbage of all sizes, and live data that keeps being replaced. */
        private static Callable<Void> allocate(List<byte[]> live, long end, int which) {
            return () -> {
                ThreadLocalRandom random = ThreadLocalRandom.current();
                while (System.nanoTime() < end) {
                    garbage = new byte[64 + random.nextInt(32 * 1024)];
                    if (random.nextInt(64) == 0) {
                        live.set(random.nextInt(live.size() / ALLOCATORS) * ALLOCATORS + which, new byte[256 * 1024]);
                    }
                }
                return null;
            };
        }

        private static ByteSink into(byte[] target, int[] length) {
            return new ByteSink() {
                @Override
                public void write(byte[] bytes, int off, int len) {
                    System.arraycopy(bytes, off, target, length[0], len);
                    length[0] += len;
                }

                @Override
                public void flush() {}

                @Override
                public void sync() {}

                @Override
                public void close() {}
            };
        }

        private static ByteSource from(byte[] content, int length) {
            return new ByteSource() {
                private int position;

                @Override
                public int read(byte[] bytes, int off, int len) {
                    int count = Math.min(len, length - position);
                    if (count <= 0) {
                        return -1;
                    }
                    System.arraycopy(content, position, bytes, off, count);
                    position += count;
                    return count;
                }

                @Override
                public void seek(long to) {
                    position = (int) to;
                }

                @Override
                public void close() {}
            };
        }

        private static Map<String, String> map(String[] keysAndValues) {
            Map<String, String> map = new TreeMap<>();
            for (int i = 0; i < keysAndValues.length; i += 2) {
                map.put(keysAndValues[i], keysAndValues[i + 1]);
            }
            return map;
        }
    }
}
