package io.sealpoint.job;

/** What is stored for a customer: about 1.2 KB of personal data, and what proves that no order was lost or repeated. */
public class Customer {
    public long orders;
    public long checksum;
    public String name;
    public String email;
    public String iban;
    public String history;

    /** For Flink's POJO serializer. */
    public Customer() {}

    static Customer of(long customer) {
        Customer fresh = new Customer();
        fresh.name = Personal.name(customer);
        fresh.email = Personal.email(customer);
        fresh.iban = Personal.iban(customer);
        fresh.history = Personal.history(customer, 0);
        return fresh;
    }

    void add(Order order) {
        orders++;
        checksum += Personal.mix(order.number);
        history = Personal.history(order.customer, orders);
    }

    /** Fails the job if what came back from state is not what was put there. */
    void check(long customer) {
        if (!Personal.name(customer).equals(name)
                || !Personal.email(customer).equals(email)
                || !Personal.iban(customer).equals(iban)
                || !Personal.history(customer, orders).equals(history)) {
            throw new IllegalStateException(
                    "WRONG STATE: the record of customer " + customer + " after " + orders + " orders is not what was stored");
        }
    }
}
