-- Payments, their steps and their refunds: all in the partition of the payment.

-- shard: payment_id
CREATE TABLE payment (
    payment_id     uuid        NOT NULL,
    kind           text        NOT NULL,
    state          text        NOT NULL CHECK (state IN ('PENDING', 'REQUIRES_ACTION', 'AUTHORIZED',
                                   'PARTIALLY_CAPTURED', 'CAPTURED', 'CANCELED', 'REFUSED', 'EXPIRED', 'UNKNOWN')),
    version        bigint      NOT NULL CHECK (version >= 0),
    busy_with      uuid,
    amount_minor   bigint      NOT NULL CHECK (amount_minor > 0),
    asset          text        NOT NULL,
    payer_id       text        NOT NULL,
    payee_id       text        NOT NULL,
    captured_minor bigint      NOT NULL CHECK (captured_minor BETWEEN 0 AND amount_minor),
    refunded_minor bigint      NOT NULL CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    captures       int         NOT NULL,
    refunds        int         NOT NULL,
    funding        text        NOT NULL,
    refusal_code   text,
    exchange_id    uuid        NOT NULL,
    details        text        NOT NULL,
    processing_id  text        NOT NULL,
    caller         text        NOT NULL,
    created_at     timestamptz NOT NULL,
    updated_at     timestamptz NOT NULL,
    expires_at     timestamptz,
    PRIMARY KEY (payment_id)
) WITH (fillfactor = 70);

COMMENT ON COLUMN payment.busy_with IS 'the workflow that has claimed this payment; one action at a time';
COMMENT ON COLUMN payment.funding IS 'JSON: what each source gave, in order';
COMMENT ON COLUMN payment.details IS 'JSON: reference, description and metadata of the caller';

CREATE INDEX payment_of_payer ON payment (payer_id, payment_id);
CREATE INDEX payment_of_payee ON payment (payee_id, payment_id);
CREATE INDEX payment_open ON payment (expires_at, payment_id) WHERE state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED');

-- shard: payment_id
CREATE TABLE payment_step (
    payment_id    uuid        NOT NULL,
    sequence      bigint      NOT NULL,
    action        text        NOT NULL,
    state         text        NOT NULL,
    amount_minor  bigint      NOT NULL CHECK (amount_minor >= 0),
    code          text,
    refund_id     uuid,
    processing_id text        NOT NULL,
    caller        text        NOT NULL,
    recorded_at   timestamptz NOT NULL,
    PRIMARY KEY (payment_id, sequence)
);

-- shard: payment_id
CREATE TABLE refund (
    payment_id    uuid        NOT NULL,
    refund_id     uuid        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('PENDING', 'SUCCEEDED', 'REFUSED', 'UNKNOWN')),
    amount_minor  bigint      NOT NULL CHECK (amount_minor > 0),
    asset         text        NOT NULL,
    reason        text,
    refusal_code  text,
    exchange_id   uuid        NOT NULL,
    processing_id text        NOT NULL,
    caller        text        NOT NULL,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    PRIMARY KEY (payment_id, refund_id)
);

CREATE INDEX refund_by_id ON refund (refund_id);

GRANT SELECT, INSERT, UPDATE ON payment, refund TO "{role}";
GRANT SELECT, INSERT ON payment_step TO "{role}";
