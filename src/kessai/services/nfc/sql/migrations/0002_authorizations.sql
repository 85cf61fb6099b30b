-- The journal of authorizations: what the network's processor asked for, and what became of it.
-- shard: authorization_id
CREATE TABLE id_authorization (
    authorization_id uuid        NOT NULL,
    message_key      text        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('purchase', 'refund', 'advice', 'tombstone')),
    state            text        NOT NULL CHECK (state IN ('INSTRUCTED', 'APPROVED', 'DECLINED', 'LATE', 'REVERSING',
                                     'REVERSED', 'CLEARED', 'EXPIRED')),
    work             text        CHECK (work IN ('ask', 'charge', 'undo')),
    work_since       timestamptz,
    caller           text        NOT NULL,
    digest           bytea       NOT NULL,
    token            text,
    last_four        text        NOT NULL CHECK (length(last_four) = 4),
    card_id          uuid,
    customer_id      text,
    device_id        uuid,
    amount_minor     bigint      NOT NULL CHECK (amount_minor >= 0),
    stands_minor     bigint      NOT NULL CHECK (stands_minor BETWEEN 0 AND amount_minor),
    currency         text        NOT NULL,
    mcc              text        NOT NULL,
    entry_mode       text        NOT NULL,
    category         text        NOT NULL CHECK (category IN ('contactless', 'in_app', 'e_money', 'other')),
    merchant         text        NOT NULL,
    terminal         text        NOT NULL,
    place            text        NOT NULL,
    acquirer         text        NOT NULL,
    rrn              text        NOT NULL,
    stan             text        NOT NULL,
    transmitted      text        NOT NULL,
    processing_code  text        NOT NULL,
    approval_code    text,
    response         text        CHECK (length(response) = 2),
    answer           bytea,
    refusal_code     text,
    stood_in         boolean     NOT NULL,
    plan             text        CHECK (plan IN ('charge', 'forced', 'owed')),
    payment_id       text,
    payment_state    text,
    captured_minor   bigint      NOT NULL CHECK (captured_minor >= 0),
    refunded_minor   bigint      NOT NULL CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    processing_id    text        NOT NULL,
    received_at      timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    version          bigint      NOT NULL CHECK (version >= 1),
    PRIMARY KEY (authorization_id),
    CHECK ((work IS NULL) = (work_since IS NULL)),
    CHECK (state <> 'INSTRUCTED' OR (work = 'ask' AND plan IS NOT NULL)),
    CHECK (state NOT IN ('LATE', 'REVERSING') OR (work = 'undo' AND plan IS NOT NULL)),
    CHECK (work IS NULL OR plan IS NOT NULL),
    CHECK (state <> 'APPROVED' OR (response = '00' AND answer IS NOT NULL)),
    CHECK (state <> 'DECLINED' OR (response <> '00' AND answer IS NOT NULL))
) WITH (fillfactor = 60);
COMMENT ON COLUMN id_authorization.authorization_id IS 'derived from message_key: a repeat finds it';
COMMENT ON COLUMN id_authorization.message_key IS 'fields 32, 7, 11 and 37';
COMMENT ON COLUMN id_authorization.work IS 'what is still to be done; written before it is done';
COMMENT ON COLUMN id_authorization.work_since IS 'in real time';
COMMENT ON COLUMN id_authorization.digest IS 'of what was asked for: other content under the same key is a duplicate';
COMMENT ON COLUMN id_authorization.token IS 'the card''s number, as the vault calls it';
COMMENT ON COLUMN id_authorization.answer IS 'the bytes that were answered, without the card''s number: a repeat gets them';
COMMENT ON COLUMN id_authorization.plan IS 'which payment bears it; each plan has a payment of its own';
COMMENT ON COLUMN id_authorization.stands_minor IS 'what the clearing may claim';
CREATE INDEX id_authorization_work ON id_authorization (work_since, authorization_id) WHERE work IS NOT NULL;
CREATE INDEX id_authorizations_of_customer ON id_authorization (customer_id, received_at, authorization_id);
CREATE INDEX id_authorizations_of_card ON id_authorization (card_id, received_at, authorization_id);
CREATE INDEX id_authorization_of_processing ON id_authorization (processing_id);
CREATE INDEX id_authorization_of_rrn ON id_authorization (rrn, received_at);
CREATE INDEX id_authorization_of_payment ON id_authorization (payment_id) WHERE payment_id IS NOT NULL;
CREATE INDEX id_authorizations_standing ON id_authorization (received_at, authorization_id) WHERE state = 'APPROVED';

-- Messages that took authorizations back, and what they were answered.
-- shard: authorization_id
CREATE TABLE id_reversal (
    authorization_id uuid        NOT NULL,
    reversal_id      uuid        NOT NULL,
    mti              text        NOT NULL CHECK (mti IN ('0400', '0401', '0420', '0421')),
    stands_minor     bigint      NOT NULL CHECK (stands_minor >= 0),
    response         text        NOT NULL CHECK (length(response) = 2),
    answer           bytea       NOT NULL,
    recorded_at      timestamptz NOT NULL,
    PRIMARY KEY (authorization_id, reversal_id)
);
COMMENT ON COLUMN id_reversal.reversal_id IS 'derived from the message''s own key: its repeat finds it';

-- Payments that were refused before another plan bore the authorization.
-- shard: authorization_id
CREATE TABLE id_refused_payment (
    authorization_id uuid NOT NULL,
    payment_id       text NOT NULL,
    plan             text NOT NULL CHECK (plan IN ('charge', 'forced', 'owed')),
    PRIMARY KEY (authorization_id, payment_id)
);

-- Captured value that was given back for an authorization.
-- shard: authorization_id
CREATE TABLE id_refund (
    authorization_id uuid        NOT NULL,
    refund_id        text        NOT NULL,
    amount_minor     bigint      NOT NULL CHECK (amount_minor > 0),
    state            text        NOT NULL,
    recorded_at      timestamptz NOT NULL,
    PRIMARY KEY (authorization_id, refund_id)
);
COMMENT ON COLUMN id_refund.refund_id IS 'the payment service''s';

-- What a card has paid: its limits are guarded here, in the flush of the authorization.
-- shard: card_id
CREATE TABLE card_usage (
    card_id     uuid   NOT NULL,
    day         date   NOT NULL,
    day_minor   bigint NOT NULL CHECK (day_minor >= 0),
    day_count   bigint NOT NULL CHECK (day_count >= 0),
    month_minor bigint NOT NULL CHECK (month_minor >= 0),
    recent      bytea  NOT NULL,
    version     bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (card_id)
) WITH (fillfactor = 60);
COMMENT ON COLUMN card_usage.day IS 'in Tokyo; the sums are of this day and its month';
COMMENT ON COLUMN card_usage.recent IS 'instants of the last payments, eight bytes each, in microseconds';

GRANT SELECT, INSERT ON id_authorization, id_reversal, id_refused_payment, id_refund, card_usage TO "{role}";
GRANT UPDATE (state, work, work_since, stands_minor, approval_code, response, answer, refusal_code, stood_in, plan,
    payment_id, payment_state, captured_minor, refunded_minor, updated_at, version) ON id_authorization TO "{role}";
GRANT UPDATE (day, day_minor, day_count, month_minor, recent, version) ON card_usage TO "{role}";
