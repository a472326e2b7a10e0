package io.sealpoint.job;

import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.streaming.api.datastream.DataStream;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.sink.v2.DiscardingSink;

/**
 * A job that keeps personal data in every kind of state a checkpoint carries, and checks all of it.
 *
 * <p>Order {@code n} belongs to customer {@code n % customers}. Each order replaces the customer's record, which is text
 * that can be recomputed from the customer and the number of orders so far: a record that differs fails the job. At the
 * end of the orders a timer of every customer reports its count and checksum, so that a lost, repeated or misplaced
 * order shows. Arguments: {@code --customers --orders-each --pace FILE --progress DIR --report DIR
 * [--work MICROS] [--count yes] [--legacy-backend URI]}.
 *
 * <p>State backend, checkpoint storage and checkpointing are the configuration's business, not the job's.
 */
public final class CustomerJob {

    private CustomerJob() {}

    public static void main(String[] args) throws Exception {
        Arguments arguments = new Arguments(args);
        long customers = arguments.number("customers");
        long orders = customers * arguments.number("orders-each");

        StreamExecutionEnvironment env = StreamExecutionEnvironment.getExecutionEnvironment();
        if (arguments.has("legacy-backend")) {
            LegacyBackend.use(env, arguments.text("legacy-backend"));
        }
        DataStream<Order> forms = env.fromSource(
                        new PacedSequence(orders, arguments.text("pace")),
                        WatermarkStrategy.noWatermarks(),
                        "orders")
                .uid("orders")
                .map(new OrderForm(customers))
                .uid("order-form");
        if (arguments.has("count")) {
            forms = forms.keyBy(new OrderForm.CustomerOf()).process(new OrderCounts()).uid("order-counts");
        }
        forms.keyBy(new OrderForm.CustomerOf())
                .process(new CustomerRecords(arguments.numberOr("work", 0), arguments.text("progress")))
                .uid("customer-records")
                .process(new ReportWriter(arguments.text("report")))
                .uid("report")
                .sinkTo(new DiscardingSink<>())
                .uid("end");
        env.execute("customers");
    }
}
