package io.sealpoint.scenarios;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.sealpoint.harness.Distribution;
import io.sealpoint.harness.Product;
import java.io.BufferedReader;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Whoever stops the demo, politely or not, finds no process of it left. */
class InterruptedDemoIT {

    @ParameterizedTest
    @CsvSource({"INT, local", "TERM, local", "KILL, local", "INT, vault", "KILL, vault"})
    @Tag("quick")
    void leaves_no_process_behind(String signal, String kms) throws Exception {
        Product product = Product.required();
        ProcessBuilder builder = new ProcessBuilder(
                        // Whoever runs these tests in the background has SIGINT ignored, which children inherit.
                        "env", "--default-signal=INT",
                        Distribution.home().resolveSibling("run-demo").toString(),
                        "-Dsealpoint.jar=" + product.jar(),
                        "-Dsealpoint.cli=" + product.cli(),
                        "-Dsealpoint.kms=" + kms,
                        "-Dsealpoint.demo.dir=" + Distribution.home().resolve("clusters").resolve("interrupted-by-" + signal + "-" + kms))
                .redirectErrorStream(true);
        Process demo = builder.start();
        List<ProcessHandle> children = List.of();
        try (BufferedReader output = demo.inputReader()) {
            String line;
            do {
                line = output.readLine();
                assertTrue(line != null, "the demo ended before it had a cluster");
            } while (!line.contains("cluster up"));
            children = demo.descendants().toList();
            assertEquals(3, count(children, "java"), "a JobManager and two TaskManagers: " + children);
            assertEquals(kms.equals("vault") ? 1 : 0, count(children, "bao"), "the server of the key: " + children);

            assertEquals(0, new ProcessBuilder("kill", "-" + signal, String.valueOf(demo.pid())).start().waitFor());

            assertTrue(demo.waitFor(5, TimeUnit.MINUTES), "the demo must end");
            for (ProcessHandle child : children) {
                child.onExit().get(5, TimeUnit.MINUTES);
            }
        } finally {
            demo.destroyForcibly();
            children.forEach(ProcessHandle::destroyForcibly);
        }
    }

    private static long count(List<ProcessHandle> processes, String program) {
        return processes.stream().filter(process -> process.info().command().orElse("").endsWith("/" + program)).count();
    }
}
