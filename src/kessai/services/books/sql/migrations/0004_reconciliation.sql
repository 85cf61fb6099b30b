-- Reconciliation (照合): what the other services tell, what was compared, and what was found. Append-only by grant, but
-- for what is staged while a run is under way, and for findings as they stand.

-- Every step of every payment, as the payment service published it.
-- shard: payment_id
CREATE TABLE payment_step (
    payment_id     text NOT NULL,
    version        bigint NOT NULL,
    kind           text NOT NULL,
    action         text NOT NULL,
    state          text NOT NULL,
    asset          text NOT NULL,
    amount_minor   bigint NOT NULL,
    fee_minor      bigint NOT NULL,
    captured_minor bigint NOT NULL,
    refunded_minor bigint NOT NULL,
    payer_id       text NOT NULL,
    payee_id       text NOT NULL,
    beneficiary_id text,
    exchange_id    text NOT NULL,
    refund_id      text,
    processing_id  text NOT NULL,
    occurred_at    timestamptz NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (payment_id, version)
);
COMMENT ON COLUMN payment_step.fee_minor IS 'the payment''s fee after this step';
CREATE INDEX payment_step_by_recording ON payment_step (recorded_at, payment_id);

-- What another service told for one run, removed when it ends.
-- shard: run_id
CREATE TABLE staged_record (
    run_id      uuid NOT NULL,
    line        bigint NOT NULL,
    subject     text NOT NULL,
    account_id  uuid,
    sequence    bigint NOT NULL,
    amount      bigint NOT NULL,
    balance     bigint,
    state       text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (run_id, line)
);
COMMENT ON COLUMN staged_record.subject IS 'an exchange, a payment, a bank instruction or a processing';
COMMENT ON COLUMN staged_record.sequence IS 'of the posting within its ledger account; 0 where there is none';

-- shard: run_id
CREATE TABLE reconciliation (
    run_id      uuid PRIMARY KEY,
    name        text NOT NULL,
    through     timestamptz NOT NULL,
    since       timestamptz,
    tolerance_s int NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    compared    bigint NOT NULL,
    differences bigint NOT NULL,
    explained   bigint NOT NULL,
    in_flight   bigint NOT NULL,
    figures     bytea NOT NULL
);
CREATE INDEX reconciliation_by_age ON reconciliation (finished_at, run_id);

-- shard: run_id
CREATE TABLE reconciliation_difference (
    run_id     uuid NOT NULL,
    line       int NOT NULL CHECK (line > 0),
    kind       text NOT NULL,
    state      text NOT NULL CHECK (state IN ('OPEN', 'IN_FLIGHT', 'EXPLAINED')),
    subject    text NOT NULL,
    asset      text NOT NULL,
    theirs     numeric(38) NOT NULL,
    ours       numeric(38) NOT NULL,
    at         timestamptz NOT NULL,
    text       text NOT NULL,
    finding_id uuid,
    PRIMARY KEY (run_id, line)
);

-- shard: finding_id
CREATE TABLE reconciliation_finding (
    finding_id uuid PRIMARY KEY,
    name       text NOT NULL,
    kind       text NOT NULL,
    subject    text NOT NULL,
    asset      text NOT NULL,
    theirs     numeric(38) NOT NULL,
    ours       numeric(38) NOT NULL,
    state      text NOT NULL CHECK (state IN ('OPEN', 'EXPLAINED', 'CLOSED')),
    version    int NOT NULL CHECK (version > 0),
    text       text NOT NULL,
    at         timestamptz NOT NULL,
    opened_at  timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    run_id     uuid NOT NULL
);
CREATE INDEX reconciliation_finding_standing ON reconciliation_finding (name, at) WHERE state <> 'CLOSED';
CREATE INDEX reconciliation_finding_by_age ON reconciliation_finding (state, opened_at, finding_id);

-- shard: finding_id
CREATE TABLE reconciliation_finding_step (
    finding_id  uuid NOT NULL,
    sequence    int NOT NULL,
    state       text NOT NULL,
    acted_by    text NOT NULL,
    reason      text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (finding_id, sequence)
);

-- What reconciliations look journals up by.
CREATE INDEX journal_by_payment ON journal (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX journal_by_processing ON journal (processing_id) WHERE processing_id IS NOT NULL;

-- Seals (封印) over what somebody wrote and no event can prove: journals by hand, accruals and corrections, safeguards,
-- counts of wallets, prices. One seal a transaction, each over the records it wrote and over the seal before it.
-- shard: chain
CREATE TABLE seal (
    chain   text NOT NULL CHECK (chain IN ('journal', 'safeguard', 'wallet_count', 'asset_price')),
    number  bigint NOT NULL CHECK (number > 0),
    records text[] NOT NULL,
    digest  bytea NOT NULL,
    seal    bytea NOT NULL,
    PRIMARY KEY (chain, number)
);
COMMENT ON COLUMN seal.records IS 'keys of the sealed rows, parts joined by /';

-- The last seal of each chain; its row is the chain's lock.
-- shard: chain
CREATE TABLE seal_head (
    chain  text PRIMARY KEY,
    number bigint NOT NULL CHECK (number >= 0),
    seal   bytea NOT NULL
) WITH (fillfactor = 50);
INSERT INTO seal_head (chain, number, seal)
VALUES ('journal', 0, ''), ('safeguard', 0, ''), ('wallet_count', 0, ''), ('asset_price', 0, '');

GRANT SELECT, INSERT ON seal TO "{role}";
GRANT SELECT, UPDATE ON seal_head TO "{role}";
GRANT SELECT, INSERT ON payment_step, staged_record, reconciliation, reconciliation_difference,
    reconciliation_finding, reconciliation_finding_step TO "{role}";
GRANT DELETE ON staged_record TO "{role}";
GRANT UPDATE (kind, theirs, ours, state, version, text, at, changed_at, run_id) ON reconciliation_finding TO "{role}";
