package io.sealpoint.job;

import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Counts the orders of each customer a second time, ahead of the records, which compare: state restored to two points in time shows. */
final class OrderCounts extends KeyedProcessFunction<Long, Order, Order> {

    private static final long serialVersionUID = 1L;

    private transient ValueState<Long> state;

    @Override
    public void open(OpenContext context) {
        state = getRuntimeContext().getState(new ValueStateDescriptor<>("orders", Types.LONG));
    }

    @Override
    public void processElement(Order order, Context context, Collector<Order> out) throws Exception {
        Long before = state.value();
        order.count = before == null ? 1 : before + 1;
        state.update(order.count);
        out.collect(order);
    }
}
