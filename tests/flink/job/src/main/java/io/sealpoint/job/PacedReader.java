package io.sealpoint.job;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.connector.source.ReaderOutput;
import org.apache.flink.api.connector.source.SourceEvent;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.lib.NumberSequenceSource.NumberSequenceSplit;
import org.apache.flink.core.io.InputStatus;

/**
 * Hands out as many records a second, and as many altogether, as a file says, so that whoever wrote the file can hold the job
 * anywhere. The file holds two numbers: records a second (0 pauses it, a negative number lets it run), and records altogether, counted from
 * where the attempt started (negative: no limit). Both hold for each reader. The task's thread never sleeps: checkpoints go through a job
 * that is held.
 */
final class PacedReader implements SourceReader<Long, NumberSequenceSplit> {

    private static final long LOOK_AGAIN_NANOS = TimeUnit.MILLISECONDS.toNanos(20);
    private static final Executor SOON = CompletableFuture.delayedExecutor(5, TimeUnit.MILLISECONDS);

    private final SourceReader<Long, NumberSequenceSplit> numbers;
    private final Path paceFile;
    private long perSecond;
    private long limit;
    private long handedOut;
    private double permits;
    private long refilled = System.nanoTime();
    private long looked = refilled - LOOK_AGAIN_NANOS;
    private boolean held;

    PacedReader(SourceReader<Long, NumberSequenceSplit> numbers, String paceFile) {
        this.numbers = numbers;
        this.paceFile = Paths.get(paceFile);
    }

    @Override
    public InputStatus pollNext(ReaderOutput<Long> output) throws Exception {
        refill();
        held = perSecond >= 0 && permits < 1 || limit >= 0 && handedOut >= limit;
        if (held) {
            return InputStatus.NOTHING_AVAILABLE;
        }
        permits -= 1;
        InputStatus status = numbers.pollNext(output);
        if (status == InputStatus.MORE_AVAILABLE) {
            handedOut++;
        }
        return status;
    }

    @Override
    public CompletableFuture<Void> isAvailable() {
        return held ? CompletableFuture.runAsync(() -> {}, SOON) : numbers.isAvailable();
    }

    private void refill() throws IOException {
        long now = System.nanoTime();
        if (now - looked >= LOOK_AGAIN_NANOS) {
            String[] pace = Files.readString(paceFile).trim().split(" ");
            perSecond = Long.parseLong(pace[0]);
            limit = Long.parseLong(pace[1]);
            looked = now;
        }
        double earned = perSecond * (now - refilled) / 1e9;
        permits = Math.min(permits + Math.max(earned, 0), Math.max(1, perSecond / 20.0));
        refilled = now;
    }

    @Override
    public void start() {
        numbers.start();
    }

    @Override
    public List<NumberSequenceSplit> snapshotState(long checkpointId) {
        return numbers.snapshotState(checkpointId);
    }

    @Override
    public void addSplits(List<NumberSequenceSplit> splits) {
        // The step to a new split may look like a record: rather one too many than one too few.
        handedOut -= splits.size();
        numbers.addSplits(splits);
    }

    @Override
    public void notifyNoMoreSplits() {
        numbers.notifyNoMoreSplits();
    }

    @Override
    public void handleSourceEvents(SourceEvent event) {
        numbers.handleSourceEvents(event);
    }

    @Override
    public void close() throws Exception {
        numbers.close();
    }
}
