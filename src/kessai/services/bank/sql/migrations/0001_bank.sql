-- Bank accounts of customers and merchants. The number and the holder's name are sealed by the vault.
-- shard: account_id
CREATE TABLE account (
    account_id    uuid        NOT NULL,
    owner_kind    text        NOT NULL CHECK (owner_kind IN ('customer', 'merchant')),
    owner_id      text        NOT NULL,
    bank_code     text        NOT NULL CHECK (length(bank_code) = 4),
    branch_code   text        NOT NULL CHECK (length(branch_code) = 3),
    deposit_type  text        NOT NULL CHECK (deposit_type IN ('ordinary', 'current', 'savings')),
    number_sealed bytea       NOT NULL,
    holder_sealed bytea       NOT NULL,
    fingerprint   bytea       NOT NULL CHECK (length(fingerprint) = 32),
    last_digits   text        NOT NULL CHECK (length(last_digits) = 3),
    debits        boolean     NOT NULL,
    caller        text        NOT NULL,
    registered_at timestamptz NOT NULL,
    removed_at    timestamptz,
    PRIMARY KEY (account_id)
);

COMMENT ON COLUMN account.fingerprint IS 'keyed digest of bank, branch, type and number, to find equal accounts';

CREATE INDEX account_of_owner ON account (owner_id, owner_kind, account_id);
CREATE INDEX account_by_fingerprint ON account (fingerprint);

-- What the bank was told to do; the version is the number of the last step.
-- shard: instruction_id
CREATE TABLE instruction (
    instruction_id uuid        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('transfer', 'debit')),
    state          text        NOT NULL CHECK (state IN ('ACCEPTED', 'UNKNOWN', 'SENT', 'DONE', 'FAILED', 'RETURNED')),
    version        bigint      NOT NULL CHECK (version >= 0),
    account_id     uuid        NOT NULL,
    owner_kind     text        NOT NULL,
    owner_id       text        NOT NULL,
    amount_minor   bigint      NOT NULL CHECK (amount_minor BETWEEN 1 AND 9999999999),
    failure_code   text,
    bank_reference text,
    reference      text,
    processing_id  text        NOT NULL,
    caller         text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    PRIMARY KEY (instruction_id, kind),
    CHECK (kind = 'transfer' OR state <> 'RETURNED'),
    CHECK ((state IN ('FAILED', 'RETURNED')) = (failure_code IS NOT NULL))
) WITH (fillfactor = 70);

CREATE INDEX instruction_of_owner ON instruction (owner_id, owner_kind, created_at, instruction_id);
CREATE INDEX instruction_open ON instruction (updated_at, instruction_id) WHERE state IN ('ACCEPTED', 'UNKNOWN', 'SENT');

-- shard: instruction_id
CREATE TABLE instruction_step (
    instruction_id uuid        NOT NULL,
    kind           text        NOT NULL,
    sequence       bigint      NOT NULL,
    state          text        NOT NULL,
    failure_code   text,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (instruction_id, kind, sequence)
);

-- How far the bank's feed of results has been read.
-- shard: feed
CREATE TABLE feed_cursor (
    feed     text   NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    PRIMARY KEY (feed)
) WITH (fillfactor = 50);
INSERT INTO feed_cursor (feed, position) VALUES ('results', 0);

GRANT SELECT, INSERT ON account, instruction, instruction_step TO "{role}";
GRANT UPDATE (number_sealed, holder_sealed, fingerprint, removed_at) ON account TO "{role}";
GRANT UPDATE (state, version, failure_code, bank_reference, updated_at) ON instruction TO "{role}";
GRANT SELECT, UPDATE (position) ON feed_cursor TO "{role}";
