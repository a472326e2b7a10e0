package io.sealpoint.job;

import org.apache.flink.runtime.state.filesystem.FsStateBackend;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;

/** A state backend that brings its own checkpoint storage, as old jobs set in their code. Flink 2 no longer has it. */
final class LegacyBackend {

    private LegacyBackend() {}

    @SuppressWarnings("deprecation")
    static void use(StreamExecutionEnvironment env, String checkpoints) {
        env.setStateBackend(new FsStateBackend(checkpoints));
    }
}
