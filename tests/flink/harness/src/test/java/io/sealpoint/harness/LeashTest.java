package io.sealpoint.harness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import org.junit.jupiter.api.Test;

class LeashTest {

    @Test
    void a_process_ends_when_whoever_started_it_lets_go() throws Exception {
        Process process = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp", System.getProperty("java.class.path"),
                        Leash.class.getName(), Sleeper.class.getName(), "hello")
                .redirectErrorStream(true)
                .start();
        try {
            assertEquals("hello", process.inputReader().readLine());
            assertTrue(process.isAlive());
            process.outputWriter().close();
            assertEquals(130, process.waitFor());
        } finally {
            process.destroyForcibly();
        }
    }

    /** Would sleep for ever. */
    public static final class Sleeper {
        public static void main(String[] args) throws InterruptedException {
            System.out.println(args[0]);
            Thread.sleep(Long.MAX_VALUE);
        }
    }
}
