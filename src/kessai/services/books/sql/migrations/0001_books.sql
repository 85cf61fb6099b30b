-- Accounting books. Append-only by grant: journal, entry, ledger_account, held_exchange. `amount` is signed: debit (借方) positive.

-- The ledger's accounts, as it told of them when they were opened.
-- shard: account_id
CREATE TABLE ledger_account (
    account_id   uuid PRIMARY KEY,
    owner        text NOT NULL,
    account_type text NOT NULL,
    opened_at    timestamptz NOT NULL
);

-- 仕訳: one booked event. Its id is derived from the event, so that no event is booked twice.
-- shard: journal_id
CREATE TABLE journal (
    journal_id    uuid PRIMARY KEY,
    source        text NOT NULL CHECK (source IN ('ledger', 'bank', 'manual', 'accrual', 'correction')),
    event_id      text NOT NULL,
    kind          text NOT NULL,
    action        text NOT NULL,
    rule          text NOT NULL,
    rule_version  int NOT NULL,
    booked_on     date NOT NULL,
    event_on      date NOT NULL,
    occurred_at   timestamptz NOT NULL,
    recorded_at   timestamptz NOT NULL,
    exchange_id   text,
    payment_id    text,
    processing_id text,
    merchant      text,
    product       text,
    reverses      uuid,
    description   text NOT NULL,
    posted_by     text NOT NULL,
    origin        text,
    CHECK (event_on <= booked_on OR source = 'manual')
);
CREATE INDEX journal_by_day ON journal (booked_on, journal_id);
CREATE INDEX journal_by_exchange ON journal (exchange_id) WHERE exchange_id IS NOT NULL;
CREATE INDEX journal_reversing ON journal (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX journal_by_origin ON journal (origin) WHERE origin IS NOT NULL;
COMMENT ON COLUMN journal.origin IS 'of a reversal by the ledger: the exchange at the beginning of its chain';
COMMENT ON COLUMN journal.exchange_id IS 'of the ledger; of a bank''s event the instruction';
COMMENT ON COLUMN journal.event_id IS 'source/position/ordinal of the event, or what a manual or accrual journal is for';
COMMENT ON COLUMN journal.booked_on IS 'its day in the books; the first of the open period where event_on is in a closed one';

-- shard: journal_id
CREATE TABLE entry (
    journal_id   uuid NOT NULL,
    line         int NOT NULL CHECK (line > 0),
    account      text NOT NULL,
    asset        text NOT NULL,
    amount       bigint NOT NULL CHECK (amount <> 0),
    tax_code     text NOT NULL,
    account_type text NOT NULL,
    owner        text NOT NULL,
    booked_on    date NOT NULL,
    PRIMARY KEY (journal_id, line)
);
CREATE INDEX entry_by_account ON entry (account, booked_on, journal_id, line);
COMMENT ON COLUMN entry.account_type IS 'of the ledger account whose posting this books; empty where it books none';
COMMENT ON COLUMN entry.owner IS 'of the ledger account where the owner is a merchant or the platform; else empty';

-- The payment of an exchange that was held before it moved anything: what its captures do not tell again.
-- shard: exchange_id
CREATE TABLE held_exchange (
    exchange_id text PRIMARY KEY,
    payment_id  text NOT NULL
);

-- Running totals of entries, for trial balances that read no entries. Derived: `kessai verify` sums them anew.
-- shard: account
CREATE TABLE day_total (
    account      text NOT NULL,
    booked_on    date NOT NULL,
    event_on     date NOT NULL,
    asset        text NOT NULL,
    account_type text NOT NULL,
    kind         text NOT NULL,
    tax_code     text NOT NULL,
    debit        numeric(38) NOT NULL CHECK (debit >= 0),
    credit       numeric(38) NOT NULL CHECK (credit >= 0),
    entries      bigint NOT NULL CHECK (entries > 0),
    PRIMARY KEY (account, booked_on, event_on, asset, account_type, kind, tax_code)
) WITH (fillfactor = 70);

-- Events that no rule books yet, with the reason; booked or still standing.
-- shard: event_id
CREATE TABLE unposted_event (
    event_id    text PRIMARY KEY,
    source      text NOT NULL,
    position    bigint NOT NULL,
    ordinal     int NOT NULL,
    topic       text NOT NULL,
    payload     bytea NOT NULL,
    subject     text NOT NULL,
    occurred_at timestamptz NOT NULL,
    reason      text NOT NULL,
    detail      text NOT NULL,
    attempts    int NOT NULL CHECK (attempts > 0),
    parked_at   timestamptz NOT NULL,
    posted_at   timestamptz
);
CREATE INDEX unposted_standing ON unposted_event (parked_at, event_id) WHERE posted_at IS NULL;
CREATE INDEX unposted_subject ON unposted_event (subject) WHERE posted_at IS NULL;
CREATE INDEX unposted_reason ON unposted_event (reason, detail) WHERE posted_at IS NULL;
COMMENT ON COLUMN unposted_event.subject IS 'the exchange or instruction that it tells of; empty where it cannot be read';

-- Accounting periods: calendar months. One that has no row is open.
-- shard: month
CREATE TABLE period (
    month      date PRIMARY KEY,
    state      text NOT NULL CHECK (state IN ('OPEN', 'CLOSED', 'LOCKED')),
    version    int NOT NULL CHECK (version > 0),
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL
);

-- shard: month
CREATE TABLE period_step (
    month      date NOT NULL,
    version    int NOT NULL,
    state      text NOT NULL,
    reason     text NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL,
    PRIMARY KEY (month, version)
);

GRANT SELECT, INSERT ON ledger_account, journal, entry, held_exchange, day_total, unposted_event, period, period_step TO "{role}";
GRANT UPDATE (debit, credit, entries) ON day_total TO "{role}";
GRANT UPDATE (reason, detail, attempts, posted_at) ON unposted_event TO "{role}";
GRANT UPDATE (state, version, changed_at, changed_by) ON period TO "{role}";
