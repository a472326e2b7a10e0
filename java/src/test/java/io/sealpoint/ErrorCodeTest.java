package io.sealpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;

/** Java and Rust agree on the numbers. */
class ErrorCodeTest {
    @Test
    void the_codes_are_those_of_the_rustlibrary() throws IOException {
        Path source = Paths.get(System.getProperty("sealpoint.test.root"), "native", "error.rs");
        Matcher arms = Pattern.compile("Kind::(\\w+) => (\\d+),").matcher(Files.readString(source));
        Map<String, Integer> rust = new TreeMap<>();
        while (arms.find()) {
            rust.put(arms.group(1).replaceAll("(?<=[a-z])(?=[A-Z])", "_").toUpperCase(Locale.ROOT), Integer.valueOf(arms.group(2)));
        }
        Map<String, Integer> java = new TreeMap<>();
        for (ErrorCode code : ErrorCode.values()) {
            java.put(code.name(), code.number());
        }
        assertEquals(rust, java);
    }

    @Test
    void each_code_has_its_class() {
        assertEquals(IntegrityException.class, SealpointException.of(20, "x").getClass());
        assertEquals(TruncatedException.class, SealpointException.of(21, "x").getClass());
        assertEquals(KmsException.class, SealpointException.of(49, "x").getClass());
        assertEquals(SealpointException.class, SealpointException.of(12345, "a code of a later version").getClass());
        assertEquals(12345, SealpointException.of(12345, "x").code());
    }
}
