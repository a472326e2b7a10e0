package io.sealpoint.job;

/** One order on its way to its customer's record; carries personal data, so that data in flight does too. */
public class Order {
    public long number;
    public long customer;
    public String iban;

    /** Which one of its customer's it is, if orders are counted; else 0. */
    public long count;

    /** For Flink's POJO serializer. */
    public Order() {}

    Order(long number, long customer) {
        this.number = number;
        this.customer = customer;
        this.iban = Personal.iban(customer);
    }
}
