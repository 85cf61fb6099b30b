-- Transaction data (取引データ): money to and from a merchant, one row a payment's step. Settles on one day.
-- shard: owner_id
CREATE TABLE transaction_data (
    owner_id       text        NOT NULL,
    transaction_id uuid        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('sale', 'refund', 'fee', 'fee_refund', 'adjustment')),
    from_id        text        NOT NULL,
    to_id          text        NOT NULL,
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    method         text        NOT NULL,
    payment_id     text        NOT NULL,
    origin_id      uuid,
    processing_id  text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    business_date  date        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    told_at        timestamptz NOT NULL,
    state          text        NOT NULL CHECK (state IN ('RECORDED', 'HELD', 'RECONCILED')),
    reason         text,
    merchant_id    text,
    payee_id       text,
    settles_on     date,
    PRIMARY KEY (owner_id, transaction_id),
    CHECK ((state = 'RECONCILED') = (settles_on IS NOT NULL)),
    CHECK ((state = 'HELD') = (reason IS NOT NULL)),
    CHECK (settles_on IS NULL OR (merchant_id IS NOT NULL AND payee_id IS NOT NULL)),
    CHECK ((from_id = owner_id) <> (to_id = owner_id))
) WITH (fillfactor = 85);
COMMENT ON COLUMN transaction_data.owner_id IS 'whose unsettled sales it moved, as the ledger names the owner';
COMMENT ON COLUMN transaction_data.transaction_id IS 'derived from the event that told of it';
COMMENT ON COLUMN transaction_data.origin_id IS 'of a fee or its refund: the sale that the fee is for';
COMMENT ON COLUMN transaction_data.told_at IS 'real time at which its event was written: a verdict from before does not cover it';
COMMENT ON COLUMN transaction_data.reason IS 'why it is held';
COMMENT ON COLUMN transaction_data.settles_on IS 'the day whose summary it is in; later than business_date when it came late';
CREATE INDEX transaction_open ON transaction_data (business_date, owner_id, transaction_id) WHERE settles_on IS NULL;
CREATE INDEX transaction_of_payment ON transaction_data (payment_id);

-- Days (精算日). A closed one is never opened again.
-- shard: day
CREATE TABLE settlement_day (
    day          date        NOT NULL,
    closed_at    timestamptz NOT NULL,
    transactions bigint      NOT NULL CHECK (transactions >= 0),
    net_minor    bigint      NOT NULL,
    left_open    bigint      NOT NULL CHECK (left_open >= 0),
    PRIMARY KEY (day)
);
COMMENT ON COLUMN settlement_day.left_open IS 'transactions of the day or before that were not proved when it closed';

-- How far each feed has come, and up to which day settlement is closed. One row each, made at first use.
-- shard: name
CREATE TABLE standing (
    name           text        NOT NULL,
    seen_at        timestamptz,
    closed_through date,
    PRIMARY KEY (name)
) WITH (fillfactor = 50);
COMMENT ON COLUMN standing.seen_at IS 'of a feed: the latest instant at which an event that was heard was recorded';
INSERT INTO standing (name, seen_at, closed_through)
VALUES ('days', NULL, NULL), ('settlement.payment', NULL, NULL), ('settlement.fees', NULL, NULL);

-- Sales and refunds as the fee flow hears them: each has its fee worked out once, by the terms of its own instant.
-- shard: owner_id
CREATE TABLE fee_base (
    owner_id       text        NOT NULL,
    transaction_id uuid        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('sale', 'refund')),
    method         text        NOT NULL,
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    payment_id     text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    business_date  date        NOT NULL,
    recorded_at    timestamptz NOT NULL,
    state          text        NOT NULL CHECK (state IN ('WAITING', 'DECIDED')),
    reason         text,
    schedule       text,
    refunded_minor bigint      NOT NULL DEFAULT 0 CHECK (refunded_minor BETWEEN 0 AND amount_minor),
    fee_minor      bigint      NOT NULL DEFAULT 0 CHECK (fee_minor >= 0),
    fee_id         uuid,
    PRIMARY KEY (owner_id, transaction_id),
    CHECK (reason IS NULL OR state = 'WAITING')
) WITH (fillfactor = 80);
COMMENT ON COLUMN fee_base.reason IS 'why its fee cannot be worked out yet; null while nobody has looked';
COMMENT ON COLUMN fee_base.schedule IS 'of a decided sale, JSON: contract, version and terms; null where there is no fee';
COMMENT ON COLUMN fee_base.refunded_minor IS 'of a sale: how much of it was refunded, the oldest sale of a payment first';
COMMENT ON COLUMN fee_base.fee_minor IS 'of a sale with a fee of its own: that fee, tax included';
CREATE INDEX fee_base_new ON fee_base (recorded_at, kind DESC, owner_id, transaction_id)
    WHERE state = 'WAITING' AND reason IS NULL;
CREATE INDEX fee_base_waiting ON fee_base (owner_id, transaction_id) WHERE state = 'WAITING';
CREATE INDEX fee_base_of_payment ON fee_base (payment_id);

-- What a sale or refund adds to a day's or cycle's fee, or takes off it.
-- shard: owner_id
CREATE TABLE fee_part (
    owner_id       text   NOT NULL,
    transaction_id uuid   NOT NULL,
    sale_id        uuid   NOT NULL,
    method         text   NOT NULL,
    unit           text   NOT NULL CHECK (unit IN ('day', 'cycle')),
    schedule       text   NOT NULL,
    base_minor     bigint NOT NULL CHECK (base_minor <> 0),
    business_date  date   NOT NULL,
    fee_id         uuid,
    PRIMARY KEY (owner_id, transaction_id, sale_id)
) WITH (fillfactor = 80);
COMMENT ON COLUMN fee_part.fee_id IS 'the fee that it went into';
CREATE INDEX fee_part_open ON fee_part (unit, business_date, owner_id) WHERE fee_id IS NULL;

-- Fees (手数料) that are due, each for one sale, or for what a day or a cycle sold by one method; or their return.
-- shard: owner_id
CREATE TABLE fee (
    owner_id      text        NOT NULL,
    fee_id        uuid        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('fee', 'fee_refund')),
    unit          text        NOT NULL CHECK (unit IN ('transaction', 'day', 'cycle')),
    origin_id     uuid        NOT NULL,
    returns_id    uuid,
    method        text        NOT NULL,
    base_minor    bigint      NOT NULL,
    amount_minor  bigint      NOT NULL CHECK (amount_minor >= 0),
    tax_minor     bigint      NOT NULL CHECK (tax_minor BETWEEN 0 AND amount_minor),
    tax_rate_bps  integer     NOT NULL CHECK (tax_rate_bps >= 0),
    schedule      text        NOT NULL,
    payment_id    text        NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    state         text        NOT NULL CHECK (state IN ('DUE', 'ASKED', 'ISSUED', 'REFUSED', 'NOTHING')),
    code          text,
    given_back_minor bigint   NOT NULL DEFAULT 0 CHECK (given_back_minor BETWEEN 0 AND amount_minor),
    business_date date        NOT NULL,
    recorded_at   timestamptz NOT NULL,
    PRIMARY KEY (owner_id, fee_id),
    CHECK ((kind = 'fee_refund') = (returns_id IS NOT NULL))
) WITH (fillfactor = 80);
COMMENT ON COLUMN fee.origin_id IS 'the sale it is for; of a return: the refund; of a day''s or cycle''s fee: derived from owner, method and day';
COMMENT ON COLUMN fee.returns_id IS 'of a return: the fee of which it gives back a part';
COMMENT ON COLUMN fee.amount_minor IS 'tax included';
COMMENT ON COLUMN fee.schedule IS 'JSON: contract, version and terms by which it was worked out';
COMMENT ON COLUMN fee.payment_id IS 'of a return: the payment that is refunded';
COMMENT ON COLUMN fee.attempts IS 'how often its payment was refused and asked for anew, under an id of its own';
COMMENT ON COLUMN fee.given_back_minor IS 'how much of it returns have taken up so far';
COMMENT ON COLUMN fee.business_date IS 'the day that it belongs to: its transaction settles as of that day';
CREATE INDEX fee_due ON fee (recorded_at, owner_id, fee_id) WHERE state = 'DUE';
CREATE INDEX fee_of_total ON fee (business_date, owner_id) WHERE unit <> 'transaction';
CREATE INDEX fee_refused ON fee (owner_id, fee_id) WHERE state = 'REFUSED';
CREATE INDEX fee_of_payment ON fee (payment_id);

-- What settlement asked the payment service to move: its effects, as the tracer compares them.
-- shard: payment_id
CREATE TABLE movement (
    payment_id     text        NOT NULL,
    kind           text        NOT NULL,
    owner_id       text        NOT NULL,
    counterpart_id text        NOT NULL,
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    returned_minor bigint      NOT NULL DEFAULT 0 CHECK (returned_minor >= 0),
    state          text        NOT NULL,
    code           text,
    about          text        NOT NULL,
    refund_of      text,
    refund_id      text,
    processing_id  text        NOT NULL,
    caller         text        NOT NULL,
    asked_at       timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (payment_id)
) WITH (fillfactor = 80);
COMMENT ON COLUMN movement.about IS 'what it is for: a fee, a payout, a claim, a daily summary';
COMMENT ON COLUMN movement.payment_id IS 'of a refund: our own name for it';
COMMENT ON COLUMN movement.owner_id IS 'the payer; counterpart_id: the payee';
COMMENT ON COLUMN movement.returned_minor IS 'how much of it refunds, or the bank, gave back';
COMMENT ON COLUMN movement.refund_of IS 'of a refund: the payment that it gives a part back of; refund_id: the payment service''s id of it';
COMMENT ON COLUMN movement.state IS 'ASKED, or the payment''s (refund''s) own word for where it stands';
CREATE INDEX movement_of_processing ON movement (processing_id);
CREATE INDEX movement_asked ON movement (asked_at, payment_id) WHERE state = 'ASKED';

-- Daily summaries (日次精算データ), from reconciled transactions only. The payee is who is paid for the merchant (入金集約).
-- shard: payee_id
CREATE TABLE daily_summary (
    payee_id          text   NOT NULL,
    day               date   NOT NULL,
    merchant_id       text   NOT NULL,
    owner_id          text   NOT NULL,
    method            text   NOT NULL,
    sales_minor       bigint NOT NULL CHECK (sales_minor >= 0),
    refunds_minor     bigint NOT NULL CHECK (refunds_minor >= 0),
    fees_minor        bigint NOT NULL CHECK (fees_minor >= 0),
    fee_refunds_minor bigint NOT NULL CHECK (fee_refunds_minor >= 0),
    added_minor       bigint NOT NULL CHECK (added_minor >= 0),
    taken_minor       bigint NOT NULL CHECK (taken_minor >= 0),
    net_minor         bigint NOT NULL,
    transactions      bigint NOT NULL CHECK (transactions > 0),
    late              bigint NOT NULL CHECK (late BETWEEN 0 AND transactions),
    cycle_id          uuid,
    PRIMARY KEY (payee_id, day, merchant_id, owner_id, method),
    CHECK (net_minor = sales_minor - refunds_minor - fees_minor + fee_refunds_minor + added_minor - taken_minor)
) WITH (fillfactor = 80);
COMMENT ON COLUMN daily_summary.added_minor IS 'adjustments to the merchant; taken_minor: from it';
COMMENT ON COLUMN daily_summary.late IS 'how many of its transactions are of an earlier day';
CREATE INDEX summary_without_cycle ON daily_summary (day, payee_id) WHERE cycle_id IS NULL;

-- Sales summaries (SalesSummaries): a payee's cycle (精算サイクル).
-- shard: payee_id
CREATE TABLE sales_summary (
    payee_id          text        NOT NULL,
    cycle_id          uuid        NOT NULL,
    first_day         date        NOT NULL,
    last_day          date        NOT NULL CHECK (last_day >= first_day),
    sales_minor       bigint      NOT NULL,
    refunds_minor     bigint      NOT NULL,
    fees_minor        bigint      NOT NULL,
    fee_refunds_minor bigint      NOT NULL,
    added_minor       bigint      NOT NULL,
    taken_minor       bigint      NOT NULL,
    net_minor         bigint      NOT NULL,
    cleared_minor     bigint      NOT NULL CHECK (cleared_minor >= 0),
    shortfall_minor   bigint      NOT NULL CHECK (shortfall_minor >= 0),
    transactions      bigint      NOT NULL,
    terms             text        NOT NULL,
    made_at           timestamptz NOT NULL,
    PRIMARY KEY (payee_id, cycle_id),
    CONSTRAINT one_cycle_a_day UNIQUE (payee_id, last_day),
    CHECK (net_minor = cleared_minor - shortfall_minor)
);
COMMENT ON COLUMN sales_summary.cleared_minor IS 'of owners whose net is positive: what becomes settled sales';
COMMENT ON COLUMN sales_summary.shortfall_minor IS 'of owners whose net is negative (赤残): what becomes a settled claim';
COMMENT ON COLUMN sales_summary.terms IS 'JSON: the settlement terms by which it was made';

-- One clearing (売上確定) or shortfall (赤残確定) of one owner in one cycle.
-- shard: payee_id
CREATE TABLE clearing (
    payee_id      text        NOT NULL,
    cycle_id      uuid        NOT NULL,
    owner_id      text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('clearing', 'shortfall')),
    amount_minor  bigint      NOT NULL CHECK (amount_minor > 0),
    payment_id    text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('DUE', 'DONE', 'REFUSED')),
    code          text,
    PRIMARY KEY (payee_id, cycle_id, owner_id)
) WITH (fillfactor = 80);

-- Payouts (Payouts, 入金), one a payee's cycle.
-- shard: payee_id
CREATE TABLE payout (
    payee_id        text        NOT NULL,
    payout_id       uuid        NOT NULL,
    cycle_id        uuid        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('MADE', 'CLEARED', 'HELD', 'CARRIED_OVER', 'NOTHING',
                                    'INSTRUCTED', 'PAID', 'FAILED', 'RETURNED')),
    reason          text,
    cleared_minor   bigint      NOT NULL CHECK (cleared_minor >= 0),
    carried_minor   bigint      NOT NULL CHECK (carried_minor >= 0),
    failed_minor    bigint      NOT NULL CHECK (failed_minor >= 0),
    offset_minor    bigint      NOT NULL CHECK (offset_minor >= 0),
    payable_minor   bigint      NOT NULL CHECK (payable_minor >= 0),
    transfer_fee_minor bigint   NOT NULL CHECK (transfer_fee_minor >= 0),
    amount_minor    bigint      NOT NULL CHECK (amount_minor >= 0),
    claim_minor     bigint      NOT NULL CHECK (claim_minor >= 0),
    pay_on          date        NOT NULL,
    instruct_on     date        NOT NULL CHECK (instruct_on <= pay_on),
    bank_account_id text,
    payment_id      text,
    carried_from    date        NOT NULL,
    taken_by        uuid,
    paid_on         date,
    version         bigint      NOT NULL CHECK (version >= 0),
    made_at         timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (payee_id, payout_id),
    CONSTRAINT one_payout_a_cycle UNIQUE (payee_id, cycle_id),
    CHECK (payable_minor = cleared_minor + carried_minor + failed_minor - offset_minor),
    CHECK (amount_minor = 0 OR amount_minor = payable_minor - transfer_fee_minor)
) WITH (fillfactor = 80);
COMMENT ON COLUMN payout.carried_minor IS 'of earlier payouts that were carried over (繰越)';
COMMENT ON COLUMN payout.failed_minor IS 'of earlier payouts whose transfer failed or came back';
COMMENT ON COLUMN payout.claim_minor IS 'what is still owed by the payee after the offset (相殺)';
COMMENT ON COLUMN payout.carried_from IS 'the last day of the oldest cycle whose money is in it';
COMMENT ON COLUMN payout.taken_by IS 'the later payout that took over what was not paid by this one';
CREATE INDEX payout_to_instruct ON payout (instruct_on, payee_id) WHERE state = 'CLEARED';
CREATE INDEX payout_of_payment ON payout (payment_id) WHERE payment_id IS NOT NULL;

-- shard: payee_id
CREATE TABLE payout_step (
    payee_id    text        NOT NULL,
    payout_id   uuid        NOT NULL,
    sequence    bigint      NOT NULL,
    state       text        NOT NULL,
    reason      text,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (payee_id, payout_id, sequence)
);

-- Claims (請求): what a payee owes. Each movement on it is a step.
-- shard: payee_id
CREATE TABLE claim (
    payee_id        text        NOT NULL,
    claim_id        uuid        NOT NULL,
    cycle_id        uuid        NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor > 0),
    offset_minor    bigint      NOT NULL CHECK (offset_minor >= 0),
    collected_minor bigint      NOT NULL CHECK (collected_minor >= 0),
    state           text        NOT NULL CHECK (state IN ('OPEN', 'SETTLED')),
    due_on          date        NOT NULL,
    version         bigint      NOT NULL CHECK (version >= 0),
    made_at         timestamptz NOT NULL,
    PRIMARY KEY (payee_id, claim_id),
    CONSTRAINT one_claim_a_cycle UNIQUE (payee_id, cycle_id),
    CHECK (offset_minor + collected_minor <= amount_minor),
    CHECK ((state = 'SETTLED') = (offset_minor + collected_minor = amount_minor))
) WITH (fillfactor = 80);

-- shard: payee_id
CREATE TABLE claim_step (
    payee_id     text        NOT NULL,
    claim_id     uuid        NOT NULL,
    sequence     bigint      NOT NULL,
    kind         text        NOT NULL CHECK (kind IN ('made', 'offset', 'collected')),
    amount_minor bigint      NOT NULL CHECK (amount_minor > 0),
    payment_id   text,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (payee_id, claim_id, sequence)
);

GRANT SELECT, INSERT ON transaction_data, settlement_day, sales_summary, payout_step, claim_step TO "{role}";
GRANT UPDATE (state, reason, merchant_id, payee_id, settles_on) ON transaction_data TO "{role}";
GRANT SELECT, INSERT ON fee, movement, daily_summary, clearing, payout, claim TO "{role}";
GRANT SELECT ON standing TO "{role}";
GRANT UPDATE (seen_at, closed_through) ON standing TO "{role}";
GRANT SELECT, INSERT ON fee_base, fee_part TO "{role}";
GRANT UPDATE (state, reason, schedule, refunded_minor, fee_minor, fee_id) ON fee_base TO "{role}";
GRANT UPDATE (fee_id) ON fee_part TO "{role}";
GRANT UPDATE (state, code, payment_id, attempts, given_back_minor) ON fee TO "{role}";
GRANT UPDATE (returned_minor, refund_id, state, code, updated_at) ON movement TO "{role}";
GRANT UPDATE (sales_minor, refunds_minor, fees_minor, fee_refunds_minor, added_minor, taken_minor, net_minor,
    transactions, late, cycle_id) ON daily_summary TO "{role}";
GRANT UPDATE (state, code) ON clearing TO "{role}";
GRANT UPDATE (state, reason, offset_minor, payable_minor, transfer_fee_minor, amount_minor, claim_minor, pay_on,
    instruct_on, bank_account_id, payment_id, taken_by, paid_on, version, updated_at) ON payout TO "{role}";
GRANT UPDATE (offset_minor, collected_minor, state, version) ON claim TO "{role}";
