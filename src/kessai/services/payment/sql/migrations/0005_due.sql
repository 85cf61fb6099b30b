-- What falls due is kept beside the payments. An index whose predicate names the state has every change of a payment
-- enter all of its indexes anew; with none, a change stays within the payment's own page.

-- shard: payment_id
CREATE TABLE payment_due (
    due_at     timestamptz NOT NULL,
    payment_id uuid        NOT NULL,
    version    bigint      NOT NULL,
    PRIMARY KEY (due_at, payment_id, version)
);

COMMENT ON TABLE payment_due IS 'when what a payment holds lapses; rows of payments that have ended go once they are past';
COMMENT ON COLUMN payment_due.version IS 'of the payment when it came into a state that lapses';

INSERT INTO payment_due (due_at, payment_id, version)
SELECT expires_at, payment_id, version FROM payment
WHERE state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED', 'REQUIRES_ACTION') AND expires_at IS NOT NULL;

DROP INDEX payment_open;
DROP INDEX payment_waiting;

ALTER TABLE payment ADD COLUMN waits boolean NOT NULL DEFAULT false;

COMMENT ON COLUMN payment.waits IS 'for somebody outside: REQUIRES_ACTION or IN_FLIGHT';

UPDATE payment SET waits = true WHERE state IN ('REQUIRES_ACTION', 'IN_FLIGHT');

CREATE INDEX payment_waiting ON payment (payment_id) WHERE waits;

GRANT SELECT, INSERT, DELETE ON payment_due TO "{role}";
