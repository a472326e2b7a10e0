package io.sealpoint;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Sealed streams behave as plain bytes do, however they are written and read. */
class StreamsTest {
    private static final String PATH = "file:/state/chk-1/state";
    private static final int ROUNDS = 60;

    static Stream<Arguments> ways() {
        return Stream.of("aes-256-gcm", "aes-256-cbc-hmac")
                .flatMap(suite -> Stream.of("4kb", "16kb", "1mb")
                        .flatMap(chunk -> Stream.of(ArrayMode.values()).map(mode -> Arguments.of(suite, chunk, mode))));
    }

    @ParameterizedTest
    @MethodSource("ways")
    void any_sequence_of_writes_and_reads_equals_the_plain_bytes(String suite, String chunk, ArrayMode mode) throws IOException {
        try (SealpointEngine engine = TestKeys.engine("algorithm", suite, "chunk-size", chunk)) {
            for (int round = 0; round < ROUNDS; round++) {
                Random random = new Random(round * 31L + chunk.hashCode());
                MemoryFile file = new MemoryFile();
                byte[] plain = writeAtRandom(engine, file, mode, random, chunk.equals("1mb") ? 3_000_000 : 300_000);
                byte[] sealed = file.bytes.toByteArray();
                assertEquals(1, file.closes);
                assertEquals(plain.length, lengthOf(engine, sealed));
                readAtRandom(engine, sealed, plain, mode, random);
            }
        }
    }

    @ParameterizedTest
    @MethodSource("ways")
    void every_length_around_the_boundaries_survives(String suite, String chunk, ArrayMode mode) throws IOException {
        try (SealpointEngine engine = TestKeys.engine("algorithm", suite, "chunk-size", chunk)) {
            int size = chunk.equals("1mb") ? 1 << 20 : chunk.equals("16kb") ? 1 << 14 : 1 << 12;
            for (int length : new int[] {0, 1, 15, 16, 17, 4095, 4096, 8192, size - 1, size, size + 1, 4 * size - 1, 4 * size, 4 * size + 1, 5 * size}) {
                byte[] plain = new byte[length];
                new Random(length).nextBytes(plain);
                byte[] sealed = seal(engine, mode, plain);
                assertArrayEquals(plain, open(engine, sealed, mode).readAllBytes());
                try (SealedInputStream in = open(engine, sealed, mode)) {
                    byte[] exactly = new byte[length];
                    assertEquals(length, in.readNBytes(exactly, 0, length));
                    assertArrayEquals(plain, exactly);
                    assertEquals(-1, in.read());
                    assertEquals(-1, in.read(new byte[1]));
                    assertEquals(0, in.available());
                }
            }
        }
    }

    @Test
    void a_file_is_readable_up_to_its_last_sync_while_it_is_written() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            for (ArrayMode mode : ArrayMode.values()) {
                MemoryFile file = new MemoryFile();
                SealedOutputStream out = output(engine, file, mode);
                byte[] plain = new byte[50_000];
                new Random(7).nextBytes(plain);
                out.write(plain, 0, 20_001);
                out.sync();
                assertEquals(1, file.syncs);
                out.write(plain, 20_001, 10_000);
                out.flush();
                SealedInputStream in = open(engine, file.bytes.toByteArray(), mode);
                assertArrayEquals(Arrays.copyOf(plain, 20_001), in.readNBytes(20_001));
                assertThrows(TruncatedException.class, in::read);
                out.write(plain, 30_001, plain.length - 30_001);
                out.close();
                assertArrayEquals(plain, open(engine, file.bytes.toByteArray(), mode).readAllBytes());
            }
        }
    }

    /** The buffers of a closed stream go to the next one, so they must not be those that a reader is still at. */
    @Test
    void a_stream_closed_by_another_thread_delivers_its_own_bytes_or_none() throws Exception {
        byte[] ones = new byte[60_000];
        byte[] twos = new byte[60_000];
        Arrays.fill(ones, (byte) 1);
        Arrays.fill(twos, (byte) 2);
        ExecutorService readers = Executors.newSingleThreadExecutor();
        try (SealpointEngine engine = TestKeys.engine("chunk-size", "4kb")) {
            byte[] sealedOnes = seal(engine, ArrayMode.DIRECT, ones);
            byte[] sealedTwos = seal(engine, ArrayMode.DIRECT, twos);
            for (int round = 0; round < 3000; round++) {
                SealedInputStream shared = open(engine, sealedOnes, ArrayMode.DIRECT);
                int before = round % 3 == 0 ? 0 : shared.read();
                boolean singly = round % 2 == 0;
                CountDownLatch reading = new CountDownLatch(1);
                Future<Integer> delivered = readers.submit(() -> {
                    reading.countDown();
                    return readUntilClosed(shared, singly);
                });
                reading.await();
                Thread.yield();
                shared.close();
                try (SealedInputStream next = open(engine, sealedTwos, ArrayMode.DIRECT)) {
                    assertArrayEquals(twos, next.readAllBytes());
                }
                int count = delivered.get();
                assertTrue(before <= 1 && count <= ones.length, before + ", " + count);
            }
        } finally {
            readers.shutdownNow();
        }
    }

    private static int readUntilClosed(SealedInputStream in, boolean singly) throws IOException {
        int count = 0;
        byte[] block = new byte[700];
        while (true) {
            int read;
            try {
                block[0] = 1;
                read = singly ? in.read() : in.read(block);
            } catch (IOException closed) {
                assertTrue(closed.getMessage().contains("close"), closed.getMessage()); // the stream's own words or its source's
                return count;
            }
            if (read < 0) {
                return count;
            }
            int length = singly ? 1 : read;
            for (int i = 0; i < length; i++) {
                assertEquals(1, singly ? read : block[i], "byte " + (count + i));
            }
            count += length;
        }
    }

    @Test
    void a_seek_that_failed_in_storage_may_be_tried_again() throws IOException {
        try (SealpointEngine engine = TestKeys.engine("chunk-size", "4kb")) {
            byte[] plain = new byte[500_000];
            new Random(3).nextBytes(plain);
            ByteSource file = MemoryFile.source(seal(engine, ArrayMode.DIRECT, plain));
            int[] failures = {0};
            ByteSource source = new ByteSource() {
                @Override
                public int read(byte[] bytes, int off, int len) throws IOException {
                    return file.read(bytes, off, len);
                }

                @Override
                public void seek(long position) throws IOException {
                    if (failures[0] > 0) {
                        failures[0]--;
                        throw new IOException("storage is away");
                    }
                    file.seek(position);
                }

                @Override
                public void close() throws IOException {
                    file.close();
                }
            };
            try (SealedInputStream in = SealedInputStream.open(engine, source, ArrayMode.DIRECT, PATH, null)) {
                for (int target : new int[] {400_001, 7, 250_000, 499_999, 4096}) {
                    in.seek(target);
                    failures[0] = 2;
                    assertEquals("storage is away", assertThrows(IOException.class, in::read).getMessage());
                    assertEquals("storage is away", assertThrows(IOException.class, () -> in.read(new byte[9000])).getMessage());
                    assertEquals(plain[target] & 0xff, in.read(), "at " + target);
                    assertEquals(target + 1, in.position());
                }
                byte[] rest = in.readAllBytes();
                assertArrayEquals(Arrays.copyOfRange(plain, 4097, plain.length), rest);
            }
        }
    }

    @Test
    void a_flush_cuts_no_chunk() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            MemoryFile flushed = new MemoryFile();
            SealedOutputStream out = output(engine, flushed, ArrayMode.DIRECT);
            for (int i = 0; i < 1000; i++) {
                out.write(i);
                out.flush();
            }
            out.close();
            assertEquals(seal(engine, ArrayMode.DIRECT, new byte[1000]).length, flushed.bytes.size());
        }
    }

    @Test
    void every_truncation_and_every_flipped_byte_is_refused() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            byte[] plain = new byte[300];
            byte[] sealed = seal(engine, ArrayMode.CRITICAL, plain);
            for (ArrayMode mode : ArrayMode.values()) {
                for (int length = 0; length < sealed.length; length++) {
                    byte[] cut = Arrays.copyOf(sealed, length);
                    assertThrows(SealpointException.class, () -> open(engine, cut, mode).readAllBytes(), "cut to " + length);
                }
                for (int at = 0; at < sealed.length; at++) {
                    byte[] flipped = sealed.clone();
                    flipped[at] ^= 1;
                    if (liesInSlots(sealed, at) && opens(engine, flipped, mode, plain)) {
                        continue; // the data key was known already: the slots were not needed, and nothing else was touched
                    }
                    SealpointException error =
                            assertThrows(SealpointException.class, () -> open(engine, flipped, mode).readAllBytes(), "flipped at " + at);
                    assertTrue(error.getMessage().contains(PATH), error.getMessage());
                }
                byte[] longer = Arrays.copyOf(sealed, sealed.length + 1);
                assertThrows(IntegrityException.class, () -> open(engine, longer, mode).readAllBytes());
            }
        }
    }

    @Test
    void a_plaintext_file_is_refused_by_name() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            for (byte[] content : new byte[][] {{}, {1}, "SEALPN".getBytes("UTF-8"), new byte[100], new byte[100_000]}) {
                SealpointException error = assertThrows(SealpointException.class, () -> open(engine, content, ArrayMode.DIRECT));
                assertTrue(error.getMessage().contains(PATH), error.getMessage());
                if (content.length != 6) {
                    assertEquals(NotSealedException.class, error.getClass(), error.getMessage());
                }
            }
        }
    }

    @Test
    void a_file_found_under_another_name_is_refused() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            MemoryFile file = new MemoryFile();
            new SealedOutputStream(file.sink(), engine.sealer(PATH, "one"), ArrayMode.DIRECT, PATH).close();
            byte[] sealed = file.bytes.toByteArray();
            SealedInputStream.open(engine, MemoryFile.source(sealed), ArrayMode.DIRECT, PATH, "one").close();
            assertThrows(
                    IntegrityException.class,
                    () -> SealedInputStream.open(engine, MemoryFile.source(sealed), ArrayMode.DIRECT, PATH, "two"));
        }
    }

    @Test
    void closed_streams_say_so() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            MemoryFile file = new MemoryFile();
            SealedOutputStream out = output(engine, file, ArrayMode.DIRECT);
            out.write(1);
            out.close();
            out.close();
            assertEquals(1, file.closes);
            assertThrows(IOException.class, () -> out.write(1));
            assertThrows(IOException.class, () -> out.write(new byte[100_000]));
            assertThrows(IOException.class, out::sync);
            assertEquals(1, out.position());
            SealedInputStream in = open(engine, file.bytes.toByteArray(), ArrayMode.DIRECT);
            in.close();
            in.close();
            assertThrows(IOException.class, in::read);
            assertThrows(IOException.class, () -> in.seek(0));
        }
        SealpointEngine closed = TestKeys.engine();
        closed.close();
        closed.close();
        assertEquals(ErrorCode.STATE.number(), assertThrows(SealpointException.class, () -> closed.sealer(PATH, null)).code());
    }

    @Test
    void the_engine_refuses_options_it_does_not_know() {
        SealpointException error = assertThrows(ConfigException.class, () -> TestKeys.engine("chunk-sise", "16kb"));
        assertTrue(error.getMessage().contains("chunk-sise") && error.getMessage().contains("chunk-size"), error.getMessage());
    }

    /** docs/FORMAT.md, "File": the prelude holds the lengths of the bound section and of the slots. */
    private static boolean liesInSlots(byte[] sealed, int at) {
        int start = 20 + Opener.prefix(sealed, 12);
        return at >= start && at < start + Opener.prefix(sealed, 16);
    }

    private static boolean opens(SealpointEngine engine, byte[] sealed, ArrayMode mode, byte[] plain) throws IOException {
        try {
            assertArrayEquals(plain, open(engine, sealed, mode).readAllBytes());
            return true;
        } catch (SealpointException refused) {
            return false;
        }
    }

    /** -Xcheck:jni counts the references that a native method holds, and the build fails when it warns. */
    @Test
    void the_engine_takes_any_number_of_options() throws IOException {
        String[] many = new String[200];
        for (int i = 0; i < many.length; i += 2) {
            many[i] = "encryption-context.k" + i;
            many[i + 1] = "v";
        }
        try (SealpointEngine engine = TestKeys.engine(many)) {
            byte[] plain = new byte[100];
            assertArrayEquals(plain, open(engine, seal(engine, ArrayMode.DIRECT, plain), ArrayMode.DIRECT).readAllBytes());
        }
    }

    private static byte[] writeAtRandom(SealpointEngine engine, MemoryFile file, ArrayMode mode, Random random, int limit) throws IOException {
        ByteArrayOutputStream expected = new ByteArrayOutputStream();
        try (SealedOutputStream out = output(engine, file, mode)) {
            int target = random.nextInt(limit);
            boolean syncs = random.nextInt(3) == 0;
            while (expected.size() < target) {
                int kind = random.nextInt(10);
                if (kind == 0 && syncs) {
                    out.sync();
                } else if (kind == 1) {
                    out.flush();
                } else if (kind < 4) {
                    for (int i = random.nextInt(3000); i > 0; i--) {
                        int b = random.nextInt();
                        out.write(b);
                        expected.write(b);
                    }
                } else {
                    byte[] block = new byte[kind < 6 ? 16384 * random.nextInt(6) : random.nextInt(40_000)];
                    random.nextBytes(block);
                    int off = block.length == 0 || kind < 6 ? 0 : random.nextInt(block.length);
                    out.write(block, off, block.length - off);
                    expected.write(block, off, block.length - off);
                }
                assertEquals(expected.size(), out.position());
            }
        }
        return expected.toByteArray();
    }

    private static void readAtRandom(SealpointEngine engine, byte[] sealed, byte[] plain, ArrayMode mode, Random random) throws IOException {
        ByteSource source = random.nextBoolean() ? MemoryFile.source(sealed) : MemoryFile.meagreSource(sealed);
        try (SealedInputStream in = SealedInputStream.open(engine, source, mode, PATH, null)) {
            int at = 0;
            for (int step = 0; step < 60; step++) {
                int kind = random.nextInt(8);
                if (kind < 2) {
                    int target = random.nextInt(plain.length + 100);
                    in.seek(target);
                    at = target;
                } else if (kind == 2) {
                    int count = random.nextInt(kind + plain.length + 10);
                    long skipped = in.skip(count);
                    assertEquals(Math.max(0, Math.min(count, plain.length - at)), skipped);
                    at += (int) skipped;
                } else if (kind == 3) {
                    assertEquals(at < plain.length, in.available() > 0);
                } else if (kind < 6) {
                    for (int i = random.nextInt(2000); i > 0; i--) {
                        assertEquals(at < plain.length ? plain[at] & 0xff : -1, in.read());
                        at += at < plain.length ? 1 : 0;
                    }
                } else {
                    byte[] block = new byte[random.nextInt(100_000)];
                    int read = in.readNBytes(block, 0, block.length);
                    assertEquals(Math.max(0, Math.min(block.length, plain.length - at)), read);
                    assertArrayEquals(Arrays.copyOfRange(plain, Math.min(at, plain.length), Math.min(at, plain.length) + read), Arrays.copyOf(block, read));
                    at += read;
                }
                assertEquals(at, in.position());
            }
        }
    }

    private static long lengthOf(SealpointEngine engine, byte[] sealed) throws IOException {
        return SealedFiles.plaintextLength(engine, MemoryFile.source(sealed), sealed.length, PATH, null);
    }

    private static byte[] seal(SealpointEngine engine, ArrayMode mode, byte[] plain) throws IOException {
        MemoryFile file = new MemoryFile();
        try (SealedOutputStream out = output(engine, file, mode)) {
            out.write(plain);
        }
        return file.bytes.toByteArray();
    }

    private static SealedOutputStream output(SealpointEngine engine, MemoryFile file, ArrayMode mode) throws IOException {
        return new SealedOutputStream(file.sink(), engine.sealer(PATH, null), mode, PATH);
    }

    private static SealedInputStream open(SealpointEngine engine, byte[] sealed, ArrayMode mode) throws IOException {
        return SealedInputStream.open(engine, MemoryFile.source(sealed), mode, PATH, null);
    }
}
