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
import java.util.concurrent.ThreadLocalRandom;
import org.junit.jupiter.api.Test;

/** Whatever goes wrong below or beside a stream, no file ends up with an end that its content does not have. */
class FailingTargetTest {
    private static final String PATH = "file:/state/chk-1/state";
    private static final int CLOSES = 4000;

    @Test
    void a_file_whose_target_failed_never_gets_an_end() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            for (String failing : new String[] {"write", "flush", "sync"}) {
                Target target = new Target(failing);
                SealedOutputStream out = output(engine, target);
                byte[] plain = new byte[70_000];
                IOException first = assertThrows(IOException.class, () -> {
                    out.write(plain);
                    out.flush();
                    out.sync();
                });
                assertEquals("no space left", first.getMessage());
                target.failing = "";
                assertThrows(IOException.class, () -> out.write(1));
                assertThrows(IOException.class, () -> out.write(plain));
                assertThrows(IOException.class, out::sync);
                IOException last = assertThrows(IOException.class, out::close);
                assertTrue(last.getMessage().contains(PATH), last.getMessage());
                out.close();
                assertEquals(1, target.closes);
                assertNoEnd(engine, target.bytes.toByteArray(), plain);
            }
        }
    }

    @Test
    void a_failing_close_is_reported_once() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            Target target = new Target("close");
            SealedOutputStream out = output(engine, target);
            out.write(new byte[10]);
            assertEquals("no space left", assertThrows(IOException.class, out::close).getMessage());
            out.close();
        }
    }

    @Test
    void a_failure_while_the_end_is_written_is_reported_and_closes_the_target() throws IOException {
        try (SealpointEngine engine = TestKeys.engine()) {
            Target target = new Target("");
            SealedOutputStream out = output(engine, target);
            out.write(new byte[10]);
            target.failing = "write";
            assertEquals("no space left", assertThrows(IOException.class, out::close).getMessage());
            assertEquals(1, target.closes);
        }
    }

    @Test
    void a_close_does_not_wait_for_a_write_that_hangs() throws Exception {
        try (SealpointEngine engine = TestKeys.engine()) {
            CountDownLatch inside = new CountDownLatch(1);
            CountDownLatch closed = new CountDownLatch(1);
            Target target = new Target("") {
                @Override
                public void write(byte[] from, int off, int len) throws IOException {
                    inside.countDown();
                    try {
                        closed.await();
                    } catch (InterruptedException error) {
                        throw new IOException(error);
                    }
                    super.write(from, off, len);
                }
            };
            SealedOutputStream out = output(engine, target);
            ExecutorService threads = Executors.newSingleThreadExecutor();
            Future<?> writing = threads.submit(() -> {
                out.write(new byte[70_000]);
                return null;
            });
            inside.await();
            out.close();
            out.close();
            assertEquals(1, target.closes);
            closed.countDown();
            assertThrows(Exception.class, writing::get);
            threads.shutdown();
            assertNoEnd(engine, target.bytes.toByteArray(), new byte[70_000]);
        }
    }

    @Test
    void closing_during_writes_never_leaves_a_file_that_is_wrong() throws Exception {
        try (SealpointEngine engine = TestKeys.engine("chunk-size", "4kb")) {
            byte[] plain = new byte[60_000];
            new Random(1).nextBytes(plain);
            ExecutorService threads = Executors.newSingleThreadExecutor();
            int aborted = 0;
            int whole = 0;
            for (int round = 0; round < CLOSES; round++) {
                Target target = new Target("");
                SealedOutputStream out =
                        new SealedOutputStream(target, engine.sealer(PATH, null), round % 2 == 0 ? ArrayMode.DIRECT : ArrayMode.CRITICAL, PATH);
                CountDownLatch started = new CountDownLatch(1);
                Future<?> writing = threads.submit(() -> {
                    started.countDown();
                    for (int at = 0; at < plain.length; at += 5_000) {
                        out.write(plain, at, 5_000);
                    }
                    return null;
                });
                started.await();
                for (int spin = ThreadLocalRandom.current().nextInt(3_000); spin > 0; spin--) {
                    Thread.onSpinWait();
                }
                out.close();
                try {
                    writing.get();
                } catch (java.util.concurrent.ExecutionException cancelled) {
                    assertTrue(cancelled.getCause() instanceof IOException, cancelled.toString());
                }
                assertEquals(1, target.closes);
                if (isWholePrefix(engine, target.bytes.toByteArray(), plain, round % 2 == 0 ? ArrayMode.CRITICAL : ArrayMode.DIRECT)) {
                    whole++;
                } else {
                    aborted++;
                }
            }
            threads.shutdown();
            assertEquals(CLOSES, whole + aborted);
            assertTrue(aborted > 0, "no close ever met a write");
        }
    }

    /** Whether the file has an end; in any case every byte that opens is the one written. */
    private static boolean isWholePrefix(SealpointEngine engine, byte[] sealed, byte[] plain, ArrayMode mode) throws IOException {
        if (sealed.length == 0) {
            return false;
        }
        ByteArrayOutputStream opened = new ByteArrayOutputStream();
        boolean ended = true;
        try (SealedInputStream in = SealedInputStream.open(engine, MemoryFile.source(sealed), mode, PATH, null)) {
            byte[] block = new byte[4096];
            for (int read = in.read(block); read >= 0; read = in.read(block)) {
                opened.write(block, 0, read);
            }
        } catch (TruncatedException cut) {
            ended = false;
        }
        assertArrayEquals(Arrays.copyOf(plain, opened.size()), opened.toByteArray());
        return ended;
    }

    private static void assertNoEnd(SealpointEngine engine, byte[] sealed, byte[] plain) throws IOException {
        assertEquals(false, isWholePrefix(engine, sealed, plain, ArrayMode.DIRECT));
    }

    private static SealedOutputStream output(SealpointEngine engine, ByteSink target) throws IOException {
        return new SealedOutputStream(target, engine.sealer(PATH, null), ArrayMode.DIRECT, PATH);
    }

    /** A target that fails in one of its methods. */
    private static class Target implements ByteSink {
        final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        volatile String failing;
        volatile int closes;

        Target(String failing) {
            this.failing = failing;
        }

        @Override
        public void write(byte[] from, int off, int len) throws IOException {
            failIf("write");
            bytes.write(from, off, len);
        }

        @Override
        public void flush() throws IOException {
            failIf("flush");
        }

        @Override
        public void sync() throws IOException {
            failIf("sync");
        }

        @Override
        public synchronized void close() throws IOException {
            closes++;
            failIf("close");
        }

        private void failIf(String method) throws IOException {
            if (failing.equals(method)) {
                throw new IOException("no space left");
            }
        }
    }
}
