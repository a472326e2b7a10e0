package io.sealpoint.harness;

import java.io.IOException;
import java.io.InputStream;

/**
 * Runs another main class and ends the JVM as soon as standard input ends: the harness holds the other end of that pipe, so
 * a Flink process cannot outlive it, however the harness dies.
 */
public final class Leash {

    private Leash() {}

    public static void main(String[] args) throws Exception {
        InputStream harness = System.in;
        Thread watch = new Thread(() -> waitForEnd(harness), "leash");
        watch.setDaemon(true);
        watch.start();

        String[] rest = new String[args.length - 1];
        System.arraycopy(args, 1, rest, 0, rest.length);
        Class.forName(args[0]).getMethod("main", String[].class).invoke(null, (Object) rest);
    }

    private static void waitForEnd(InputStream harness) {
        try {
            while (harness.read() >= 0) {
                // Nothing is ever sent.
            }
        } catch (IOException broken) {
            // As good as the end.
        }
        Runtime.getRuntime().halt(130);
    }
}
