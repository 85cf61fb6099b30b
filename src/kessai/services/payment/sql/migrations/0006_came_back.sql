-- What a bank returned, noted when it is heard: a payment that is captured waits for nobody, so that no look at what
-- waits would find it.

-- shard: payment_id
CREATE TABLE came_back (
    payment_id uuid        NOT NULL,
    heard_at   timestamptz NOT NULL,
    PRIMARY KEY (payment_id)
);

COMMENT ON TABLE came_back IS 'payments whose transfer the bank returned; a row goes once its payment is RETURNED';

GRANT SELECT, INSERT, DELETE ON came_back TO "{role}";
