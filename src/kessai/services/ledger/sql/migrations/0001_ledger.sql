-- The ledger's own tables. Append-only by grant: flush, exchange, exchange_action, account_event, account_log,
-- hot_log, lot_log. Mutable rows (account, lot, exchange_state, hot_subtotal, writer) can be derived from those.
-- A flush_id is microseconds since 2020-01-01 UTC shifted left by 12 bits, plus the writer's slot.

-- shard: slot
CREATE TABLE writer (
    slot int PRIMARY KEY,
    epoch bigint NOT NULL,
    holder uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    fenced boolean NOT NULL,
    stable_id bigint NOT NULL,
    sequence bigint NOT NULL,
    seal bytea NOT NULL
) WITH (fillfactor = 30);

-- shard: flush_id
CREATE TABLE flush (
    flush_id bigint PRIMARY KEY,
    slot int NOT NULL,
    epoch bigint NOT NULL,
    sequence bigint NOT NULL,
    effects int NOT NULL,
    digest bytea NOT NULL,
    seal bytea NOT NULL,
    expected int NOT NULL,
    verified int NOT NULL,
    CONSTRAINT flush_verified CHECK (verified = expected)
);

-- shard: anchor_id
CREATE TABLE seal_anchor (
    anchor_id bigint PRIMARY KEY,
    recorded_at timestamptz NOT NULL,
    heads text NOT NULL,
    seal bytea NOT NULL
);

-- shard: account_id
CREATE TABLE account (
    account_id uuid PRIMARY KEY,
    owner text NOT NULL,
    account_type text NOT NULL,
    asset text NOT NULL,
    balance bigint NOT NULL,
    held bigint NOT NULL,
    version bigint NOT NULL,
    overdraft bigint NOT NULL,
    frozen text NOT NULL,
    closed boolean NOT NULL,
    metadata text NOT NULL,
    opened_id bigint NOT NULL,
    flush_id bigint NOT NULL,
    CONSTRAINT account_overdrawn CHECK (balance - held >= -overdraft),
    CONSTRAINT account_held CHECK (held >= 0)
) WITH (fillfactor = 60);
CREATE INDEX account_owner ON account (owner, account_type);
CREATE INDEX account_of_type ON account (account_type, account_id);

-- shard: account_id
CREATE TABLE account_event (
    account_id uuid NOT NULL,
    version bigint NOT NULL,
    event text NOT NULL,
    flush_id bigint NOT NULL,
    ordinal int NOT NULL,
    record bytea NOT NULL,
    PRIMARY KEY (account_id, version)
);

-- shard: account_id
CREATE TABLE account_log (
    account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    exchange_id uuid NOT NULL,
    leg int NOT NULL,
    amount bigint NOT NULL,
    held_change bigint NOT NULL,
    balance bigint NOT NULL,
    held bigint NOT NULL,
    flush_id bigint NOT NULL,
    PRIMARY KEY (account_id, sequence)
);

-- shard: account_id
CREATE TABLE hot_log (
    account_id uuid NOT NULL,
    flush_id bigint NOT NULL,
    ordinal int NOT NULL,
    exchange_id uuid NOT NULL,
    leg int NOT NULL,
    amount bigint NOT NULL,
    PRIMARY KEY (account_id, flush_id, ordinal)
);

-- shard: account_id
CREATE TABLE hot_subtotal (
    account_id uuid PRIMARY KEY,
    through_id bigint NOT NULL,
    balance bigint NOT NULL
);

-- shard: account_id
CREATE TABLE lot (
    account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    amount bigint NOT NULL,
    remaining bigint NOT NULL,
    held bigint NOT NULL,
    is_open boolean NOT NULL,
    expires_at timestamptz,
    rate text,
    PRIMARY KEY (account_id, sequence),
    CONSTRAINT lot_bounds CHECK (held >= 0 AND held <= remaining AND remaining <= amount),
    CONSTRAINT lot_open CHECK (is_open = (remaining > 0))
) WITH (fillfactor = 85);
CREATE INDEX lot_in_order ON lot (account_id, expires_at, sequence) WHERE is_open;
CREATE INDEX lot_expiring ON lot (expires_at, account_id) WHERE is_open AND expires_at IS NOT NULL;

-- shard: account_id
CREATE TABLE lot_log (
    account_id uuid NOT NULL,
    sequence bigint NOT NULL,
    lot_sequence bigint NOT NULL,
    amount bigint NOT NULL,
    held_change bigint NOT NULL,
    PRIMARY KEY (account_id, sequence, lot_sequence)
);

-- shard: exchange_id
CREATE TABLE exchange (
    exchange_id uuid PRIMARY KEY,
    flush_id bigint NOT NULL,
    ordinal int NOT NULL,
    record bytea NOT NULL,
    digest bytea NOT NULL,
    caller text NOT NULL,
    processing_id text
);
ALTER TABLE exchange ALTER COLUMN record SET STORAGE MAIN;

-- shard: reference
CREATE TABLE exchange_reference (
    reference text PRIMARY KEY,
    exchange_id uuid NOT NULL
);

-- shard: exchange_id
CREATE TABLE exchange_action (
    exchange_id uuid NOT NULL,
    action_id uuid NOT NULL,
    flush_id bigint NOT NULL,
    ordinal int NOT NULL,
    record bytea NOT NULL,
    caller text NOT NULL,
    processing_id text,
    PRIMARY KEY (exchange_id, action_id)
);

-- shard: exchange_id
CREATE TABLE exchange_state (
    exchange_id uuid PRIMARY KEY,
    state text NOT NULL,
    version bigint NOT NULL,
    expires_at timestamptz,
    is_held boolean NOT NULL,
    progress bytea NOT NULL,
    CONSTRAINT exchange_state_held CHECK (is_held = (state = 'AUTHORIZED'))
) WITH (fillfactor = 70);
CREATE INDEX exchange_lapsing ON exchange_state (expires_at) WHERE is_held;

-- The rows of a page as they are handed over: one array of rows is cheaper to send than one array a column.
CREATE TYPE account_change AS (
    account_id uuid, was bigint, balance bigint, held bigint, version bigint, overdraft bigint, frozen text,
    closed boolean
);
CREATE TYPE log_entry AS (
    account_id uuid, sequence bigint, exchange_id uuid, leg int, amount bigint, held_change bigint, balance bigint,
    held bigint
);
CREATE TYPE lot_change AS (account_id uuid, sequence bigint, remaining bigint, held bigint);
CREATE TYPE lot_birth AS (
    account_id uuid, sequence bigint, amount bigint, remaining bigint, held bigint, expires_at timestamptz, rate text
);
CREATE TYPE lot_entry AS (account_id uuid, sequence bigint, lot_sequence bigint, amount bigint, held_change bigint);
CREATE TYPE exchange_birth AS (
    exchange_id uuid, ordinal int, record bytea, digest bytea, caller text, processing_id text
);

GRANT SELECT, INSERT ON flush, seal_anchor, account, account_event, account_log, hot_log, hot_subtotal, lot, lot_log,
    exchange, exchange_reference, exchange_action, exchange_state, writer TO {role};
GRANT UPDATE (balance, held, version, overdraft, frozen, closed, metadata, flush_id) ON account TO {role};
GRANT UPDATE (remaining, held, is_open) ON lot TO {role};
GRANT UPDATE (state, version, is_held, progress) ON exchange_state TO {role};
GRANT UPDATE (through_id, balance) ON hot_subtotal TO {role};
GRANT UPDATE ON writer TO {role};
