-- What is under way: repayments and offsets that a claim is spoken for by, the payment of a transfer fee.
ALTER TABLE claim ADD COLUMN pending_minor bigint NOT NULL DEFAULT 0 CHECK (pending_minor >= 0);
ALTER TABLE claim ADD CONSTRAINT claim_not_overspoken
    CHECK (offset_minor + collected_minor + pending_minor <= amount_minor);
COMMENT ON COLUMN claim.pending_minor IS 'of what is owed: what an offset or a repayment under way will settle';
GRANT UPDATE (pending_minor) ON claim TO "{role}";

ALTER TABLE payout ADD COLUMN fee_payment_id text;
ALTER TABLE payout ADD COLUMN offset_payment_id text;
COMMENT ON COLUMN payout.fee_payment_id IS 'the payment of the transfer fee, where the merchant bears it';
COMMENT ON COLUMN payout.offset_payment_id IS 'the payment of the offset (相殺)';
GRANT UPDATE (fee_payment_id, offset_payment_id) ON payout TO "{role}";
GRANT UPDATE (payment_id) ON clearing TO "{role}";

CREATE INDEX payout_by_id ON payout (payout_id);
CREATE INDEX payout_of_fee ON payout (fee_payment_id) WHERE fee_payment_id IS NOT NULL;
CREATE INDEX payout_by_state ON payout (state, payee_id, payout_id)
    WHERE state IN ('MADE', 'HELD', 'INSTRUCTED', 'FAILED', 'RETURNED', 'CARRIED_OVER');
CREATE INDEX payout_listed ON payout (made_at, payout_id);
CREATE INDEX claim_by_id ON claim (claim_id);
CREATE INDEX claim_listed ON claim (made_at, claim_id);
CREATE INDEX claim_open ON claim (payee_id) WHERE state = 'OPEN';

CREATE INDEX summary_of_payee_without_cycle ON daily_summary (payee_id, day) WHERE cycle_id IS NULL;

-- What an offset (相殺) or a repayment (返済) takes of a claim: asked of the payment service under an id of its own.
-- shard: payee_id
CREATE TABLE claim_part (
    payee_id     text        NOT NULL,
    claim_id     uuid        NOT NULL,
    payment_id   text        NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('offset', 'collected')),
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    state        text        NOT NULL CHECK (state IN ('ASKED', 'DONE', 'REFUSED')),
    code         text,
    asked_at     timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (payee_id, claim_id, payment_id)
) WITH (fillfactor = 80);
CREATE INDEX part_of_payment ON claim_part (payment_id);
GRANT SELECT, INSERT ON claim_part TO "{role}";
GRANT UPDATE (state, code, updated_at) ON claim_part TO "{role}";
