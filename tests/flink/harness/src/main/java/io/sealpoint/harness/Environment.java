package io.sealpoint.harness;

import java.util.Map;

/** What a process of ours finds in its environment. */
public final class Environment {

    private Environment() {}

    /**
     * Makes it that of whoever runs us, but for what would configure Flink, a JVM or Sealpoint, or is somebody's own server, credential or
     * trusted certificate, and with these variables.
     */
    public static void set(ProcessBuilder process, Map<String, String> variables) {
        Map<String, String> environment = process.environment();
        environment.keySet().removeIf(
                variable -> variable.matches("(AWS|AZURE|GOOGLE|VAULT|BAO|SEALPOINT|FLINK)_.*|JAVA_TOOL_OPTIONS"));
        environment.putAll(variables);
    }
}
