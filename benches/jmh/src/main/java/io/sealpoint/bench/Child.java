package io.sealpoint.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** A process of its own, on the same core as this one, which waits for it. */
final class Child {

    private Child() {}

    static String output(String... command) throws IOException, InterruptedException {
        Process process = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        process.getOutputStream().close();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        int status = process.waitFor();
        if (status != 0) {
            throw new IOException(String.join(" ", command) + " ended with status " + status + ": " + output);
        }
        return output;
    }
}
