package io.sealpoint.job;

import java.util.Collection;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.connector.source.Boundedness;
import org.apache.flink.api.connector.source.Source;
import org.apache.flink.api.connector.source.SourceReader;
import org.apache.flink.api.connector.source.SourceReaderContext;
import org.apache.flink.api.connector.source.SplitEnumerator;
import org.apache.flink.api.connector.source.SplitEnumeratorContext;
import org.apache.flink.api.connector.source.lib.NumberSequenceSource;
import org.apache.flink.api.connector.source.lib.NumberSequenceSource.NumberSequenceSplit;
import org.apache.flink.api.java.typeutils.ResultTypeQueryable;
import org.apache.flink.core.io.SimpleVersionedSerializer;

/** The numbers {@code 0 .. count - 1}, handed out no faster and no further than a file says (see {@link PacedReader}). */
final class PacedSequence
        implements Source<Long, NumberSequenceSplit, Collection<NumberSequenceSplit>>, ResultTypeQueryable<Long> {

    private static final long serialVersionUID = 1L;

    private final NumberSequenceSource numbers;
    private final String paceFile;

    PacedSequence(long count, String paceFile) {
        this.numbers = new NumberSequenceSource(0, count - 1);
        this.paceFile = paceFile;
    }

    @Override
    public SourceReader<Long, NumberSequenceSplit> createReader(SourceReaderContext context) {
        return new PacedReader(numbers.createReader(context), paceFile);
    }

    @Override
    public Boundedness getBoundedness() {
        return numbers.getBoundedness();
    }

    @Override
    public TypeInformation<Long> getProducedType() {
        return numbers.getProducedType();
    }

    @Override
    public SplitEnumerator<NumberSequenceSplit, Collection<NumberSequenceSplit>> createEnumerator(
            SplitEnumeratorContext<NumberSequenceSplit> context) {
        return numbers.createEnumerator(context);
    }

    @Override
    public SplitEnumerator<NumberSequenceSplit, Collection<NumberSequenceSplit>> restoreEnumerator(
            SplitEnumeratorContext<NumberSequenceSplit> context, Collection<NumberSequenceSplit> left) {
        return numbers.restoreEnumerator(context, left);
    }

    @Override
    public SimpleVersionedSerializer<NumberSequenceSplit> getSplitSerializer() {
        return numbers.getSplitSerializer();
    }

    @Override
    public SimpleVersionedSerializer<Collection<NumberSequenceSplit>> getEnumeratorCheckpointSerializer() {
        return numbers.getEnumeratorCheckpointSerializer();
    }
}
