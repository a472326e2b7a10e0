package io.sealpoint.harness;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {

    /** SplitMix64's finalizer of 0, 1 and 2, from its definition, worked out apart from this code. */
    private static final List<String> CUSTOMERS = List.of(
            "customer,0,1,0", "customer,1,1," + 0x5692161d100b05e5L, "customer,2,1," + 0xdbd238973a2b148aL);

    @TempDir
    Path folder;

    @Test
    void a_complete_report_is_accepted_from_several_files() throws IOException {
        write(truth().subList(0, 5));
        write(truth().subList(5, truth().size()));
        assertEquals(3, Report.check(folder, 3, 1));
    }

    @Test
    void a_missing_a_repeated_a_wrong_and_an_unknown_line_are_refused() throws IOException {
        refused("customer,1 was not reported", lines -> lines.removeIf(line -> line.startsWith("customer,1,")));
        refused("customer,0 was reported twice", lines -> lines.add("customer,0,1,0"));
        refused("reported customer,0,1,7", lines -> lines.set(lines.indexOf("customer,0,1,0"), "customer,0,1,7"));
        refused("reported customer,0,2,0", lines -> lines.set(lines.indexOf("customer,0,1,0"), "customer,0,2,0"));
        refused("ledger,3 was not reported", lines -> lines.remove("ledger,3"));
        refused("not expected at all: customer,3,1,0", lines -> lines.add("customer,3,1,0"));
    }

    private interface Change {
        void make(List<String> lines);
    }

    private void refused(String reason, Change change) throws IOException {
        List<String> lines = truth();
        change.make(lines);
        Folders.clear(folder);
        write(lines);
        AssertionError error = assertThrows(AssertionError.class, () -> Report.check(folder, 3, 1));
        assertTrue(error.getMessage().contains(reason), error.getMessage());
    }

    private static List<String> truth() {
        List<String> lines = new ArrayList<>(CUSTOMERS);
        for (int entry = 0; entry < 24; entry++) {
            lines.add("ledger," + entry);
        }
        return lines;
    }

    private void write(List<String> lines) throws IOException {
        Files.write(Files.createTempFile(folder, "report", ".csv"), lines);
    }
}
