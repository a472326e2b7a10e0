package io.sealpoint.job;

import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** One record a customer, checked whenever it is touched, reported once by a timer at the end of the orders. */
final class CustomerRecords extends KeyedProcessFunction<Long, Order, String> {

    private static final long serialVersionUID = 1L;

    /** Fires with the last watermark, which only a job that read all its input sends. */
    private static final long AT_THE_END = Long.MAX_VALUE - 1;

    private final long workMicros;
    private final String progressDirectory;
    private transient ValueState<Customer> state;
    private transient Progress progress;

    /** @param workMicros how long an order takes: enough of it, and orders queue up in front of this task */
    CustomerRecords(long workMicros, String progressDirectory) {
        this.workMicros = workMicros;
        this.progressDirectory = progressDirectory;
    }

    @Override
    public void open(OpenContext context) throws Exception {
        progress = new Progress(progressDirectory, getRuntimeContext().getTaskInfo());
        state = getRuntimeContext().getState(new ValueStateDescriptor<>("customer", Customer.class));
    }

    @Override
    public void processElement(Order order, Context context, Collector<String> out) throws Exception {
        if (!Personal.iban(order.customer).equals(order.iban)) {
            throw new IllegalStateException("WRONG STATE: order " + order.number + " arrived with another customer's data");
        }
        Customer customer = state.value();
        if (customer == null) {
            customer = Customer.of(order.customer);
            context.timerService().registerEventTimeTimer(AT_THE_END);
        } else {
            customer.check(order.customer);
        }
        customer.add(order);
        if (order.count != 0 && order.count != customer.orders) {
            throw new IllegalStateException("WRONG STATE: two operators counted differently for customer " + order.customer);
        }
        state.update(customer);
        if (workMicros > 0) {
            LockSupport.parkNanos(TimeUnit.MICROSECONDS.toNanos(workMicros));
        }
        progress.oneMore();
    }

    @Override
    public void onTimer(long timestamp, OnTimerContext context, Collector<String> out) throws Exception {
        long key = context.getCurrentKey();
        Customer customer = state.value();
        customer.check(key);
        out.collect("customer," + key + "," + customer.orders + "," + customer.checksum);
    }
}
