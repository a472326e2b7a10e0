package io.sealpoint.harness;

import java.time.Duration;
import java.util.Optional;
import java.util.function.Supplier;

/** Asks again until there is an answer. The limit only turns a hang into a failure; nothing is judged by the time it took. */
final class Await {

    static final Duration LIMIT = Duration.ofMinutes(5);
    private static final long PAUSE_MILLIS = 50;

    private Await() {}

    interface Question<T> {
        Optional<T> ask() throws Exception;
    }

    static <T> T answer(String what, Supplier<String> evidence, Question<T> question) throws Exception {
        return answer(what, LIMIT, evidence, question);
    }

    static <T> T answer(String what, Duration limit, Supplier<String> evidence, Question<T> question) throws Exception {
        long deadline = System.nanoTime() + limit.toNanos();
        while (true) {
            Optional<T> answer = question.ask();
            if (answer.isPresent()) {
                return answer.get();
            }
            if (System.nanoTime() > deadline) {
                throw new AssertionError("still waiting after " + limit.toSeconds() + " s for " + what + "\n" + evidence.get());
            }
            Thread.sleep(PAUSE_MILLIS);
        }
    }
}
