-- One-time codes (コード決済) and net orders (ネット決済).

-- shard: code_id
CREATE TABLE one_time_code (
    code_id     uuid        NOT NULL,
    customer_id text        NOT NULL,
    sources     text        NOT NULL,
    points      text        NOT NULL,
    return_url  text,
    caller      text        NOT NULL,
    issued_at   timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL CHECK (expires_at > issued_at),
    used_at     timestamptz,
    payment_id  uuid,
    revoked_at  timestamptz,
    PRIMARY KEY (code_id),
    CONSTRAINT used_by_one_payment CHECK ((used_at IS NULL) = (payment_id IS NULL))
) WITH (fillfactor = 70);

COMMENT ON COLUMN one_time_code.code_id IS 'the first half of a keyed digest of the digits, which are kept nowhere';
COMMENT ON COLUMN one_time_code.sources IS 'JSON: the customer''s order of preference';

CREATE INDEX code_of_customer ON one_time_code (customer_id, issued_at) WHERE used_at IS NULL AND revoked_at IS NULL;
CREATE INDEX code_unused ON one_time_code (expires_at) WHERE used_at IS NULL;

-- shard: caller
CREATE TABLE code_attempt (
    caller    text        NOT NULL,
    window_at timestamptz NOT NULL,
    failures  int         NOT NULL CHECK (failures > 0),
    PRIMARY KEY (caller, window_at)
) WITH (fillfactor = 70);

COMMENT ON TABLE code_attempt IS 'unknown codes that an API key asked for, by window';

-- shard: order_id
CREATE TABLE net_order (
    order_id       uuid        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('OPEN', 'BOUND', 'CANCELED', 'EXPIRED')),
    version        bigint      NOT NULL CHECK (version >= 0),
    merchant_id    text        NOT NULL,
    customer_id    text,
    payment_id     uuid,
    reference      text,
    asked          text        NOT NULL,
    sealed_key     bytea       NOT NULL,
    content_sha256 bytea       NOT NULL,
    caller         text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL CHECK (expires_at > created_at),
    PRIMARY KEY (order_id),
    CONSTRAINT bound_to_a_payment CHECK (state <> 'BOUND' OR payment_id IS NOT NULL)
) WITH (fillfactor = 70);

COMMENT ON COLUMN net_order.asked IS 'JSON: the order as the shop asked for it';
COMMENT ON COLUMN net_order.sealed_key IS 'the key of its return addresses, sealed by the vault';

CREATE INDEX order_of_merchant ON net_order (merchant_id, created_at, order_id);
CREATE INDEX order_of_reference ON net_order (merchant_id, reference, created_at, order_id) WHERE reference IS NOT NULL;
CREATE INDEX order_open ON net_order (expires_at, order_id) WHERE state = 'OPEN';

-- shard: order_id
CREATE TABLE net_order_step (
    order_id    uuid        NOT NULL,
    sequence    bigint      NOT NULL,
    action      text        NOT NULL,
    state       text        NOT NULL,
    payment_id  uuid,
    request_key uuid,
    caller      text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (order_id, sequence)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON one_time_code, code_attempt TO "{role}";
GRANT SELECT, INSERT, UPDATE ON net_order TO "{role}";
GRANT SELECT, INSERT ON net_order_step TO "{role}";
