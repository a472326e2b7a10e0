package io.sealpoint.job;

import org.apache.flink.api.common.functions.MapFunction;
import org.apache.flink.api.java.functions.KeySelector;

/** Makes the order of a number. */
final class OrderForm implements MapFunction<Long, Order> {

    private static final long serialVersionUID = 1L;

    private final long customers;

    OrderForm(long customers) {
        this.customers = customers;
    }

    @Override
    public Order map(Long number) {
        return new Order(number, number % customers);
    }

    static final class CustomerOf implements KeySelector<Order, Long> {

        private static final long serialVersionUID = 1L;

        @Override
        public Long getKey(Order order) {
            return order.customer;
        }
    }
}
