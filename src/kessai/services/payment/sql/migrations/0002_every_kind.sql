-- What payments of every kind need: states outside the platform, fees, sellers, look-ups by reference and time, and a
-- guard over what one customer has moved.

ALTER TABLE payment DROP CONSTRAINT payment_state_check;
ALTER TABLE payment ADD CONSTRAINT payment_state_check CHECK (state IN ('PENDING', 'REQUIRES_ACTION', 'AUTHORIZED',
    'PARTIALLY_CAPTURED', 'CAPTURED', 'CANCELED', 'REFUSED', 'EXPIRED', 'UNKNOWN', 'IN_FLIGHT', 'RETURNED'));

ALTER TABLE payment ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0);
ALTER TABLE payment ADD COLUMN beneficiary_id text;
ALTER TABLE payment ADD COLUMN reference text;
ALTER TABLE payment ADD COLUMN next_action text;

COMMENT ON COLUMN payment.beneficiary_id IS 'of an escrow: the seller';
COMMENT ON COLUMN payment.reference IS 'the caller''s own name for it; need not be unique';
COMMENT ON COLUMN payment.next_action IS 'JSON: what has to happen outside before it goes on';

CREATE INDEX payment_of_beneficiary ON payment (beneficiary_id, payment_id) WHERE beneficiary_id IS NOT NULL;
CREATE INDEX payment_of_reference ON payment (reference, payment_id) WHERE reference IS NOT NULL;
CREATE INDEX payment_by_time ON payment (created_at, payment_id);
DROP INDEX payment_open;
CREATE INDEX payment_open ON payment (expires_at, payment_id)
    WHERE state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED', 'REQUIRES_ACTION');

CREATE INDEX payment_waiting ON payment (payment_id) WHERE state IN ('REQUIRES_ACTION', 'IN_FLIGHT');

ALTER TABLE payment_step ADD COLUMN exchange_id uuid;
ALTER TABLE payment_step ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0 CHECK (fee_minor >= 0);

COMMENT ON COLUMN payment_step.exchange_id IS 'a further ledger exchange that the step made';

-- shard: customer_id
CREATE TABLE spending (
    customer_id text   NOT NULL,
    kind        text   NOT NULL,
    version     bigint NOT NULL CHECK (version > 0),
    PRIMARY KEY (customer_id, kind)
) WITH (fillfactor = 70);

COMMENT ON TABLE spending IS 'raised by every payment that counts against a limit, so that two cannot pass it together';

GRANT SELECT, INSERT, UPDATE ON spending TO "{role}";
