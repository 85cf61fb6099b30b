-- Cards as tokens, authorizations on them, and the operations on those (in the partition of the authorization).

-- shard: card_id
CREATE TABLE card (
    card_id      uuid        NOT NULL,
    customer_id  text        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'REFUSED', 'REMOVED')),
    card_token   text        NOT NULL,
    brand        text        NOT NULL,
    last_four    text        NOT NULL CHECK (length(last_four) <= 4),
    expiry_month int         NOT NULL,
    expiry_year  int         NOT NULL,
    created_at   timestamptz NOT NULL,
    removed_at   timestamptz NULL,
    PRIMARY KEY (card_id)
);

COMMENT ON COLUMN card.card_token IS 'the gateway''s own name for the card; never its number';

CREATE INDEX card_of_customer ON card (customer_id, card_id);

-- shard: authorization_id
CREATE TABLE card_authorization (
    authorization_id uuid        NOT NULL,
    customer_id      text        NOT NULL,
    card_id          uuid        NULL,
    state            text        NOT NULL CHECK (state IN ('PENDING', 'REQUIRES_ACTION', 'AUTHORIZED', 'CAPTURED',
                                     'VOIDING', 'VOIDED', 'REFUSED')),
    version          bigint      NOT NULL CHECK (version >= 0),
    busy_with        uuid        NULL,
    amount_minor     bigint      NOT NULL CHECK (amount_minor >= 0),
    asset            text        NOT NULL,
    captured_minor   bigint      NOT NULL CHECK (captured_minor BETWEEN 0 AND amount_minor),
    refunded_minor   bigint      NOT NULL CHECK (refunded_minor BETWEEN 0 AND captured_minor),
    refusal_code     text        NULL,
    action_url       text        NULL,
    reference        text        NULL,
    processing_id    text        NOT NULL,
    unheard_since    timestamptz NULL,
    aborted_at       timestamptz NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    PRIMARY KEY (authorization_id)
) WITH (fillfactor = 70);

COMMENT ON COLUMN card_authorization.card_id IS 'NULL when it was voided before it was ever seen';
COMMENT ON COLUMN card_authorization.busy_with IS 'the workflow that has claimed it; one operation at a time';
COMMENT ON COLUMN card_authorization.unheard_since IS 'real time since when nobody has had its outcome';
COMMENT ON COLUMN card_authorization.aborted_at IS 'when it was journalled that whatever comes of it be undone';

CREATE INDEX card_authorization_of_customer ON card_authorization (customer_id, created_at, authorization_id);
CREATE INDEX card_authorization_unheard ON card_authorization (unheard_since) WHERE unheard_since IS NOT NULL;
CREATE INDEX card_authorization_voiding ON card_authorization (authorization_id) WHERE state = 'VOIDING';

-- shard: authorization_id
CREATE TABLE card_operation (
    authorization_id uuid        NOT NULL,
    operation_id     uuid        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('authorize', 'complete', 'capture', 'void', 'refund')),
    state            text        NOT NULL CHECK (state IN ('PENDING', 'DONE', 'REFUSED')),
    amount_minor     bigint      NOT NULL CHECK (amount_minor >= 0),
    final            boolean     NOT NULL,
    refusal_code     text        NULL,
    processing_id    text        NOT NULL,
    caller           text        NOT NULL,
    instructed_at    timestamptz NOT NULL,
    settled_at       timestamptz NULL,
    sent_at          timestamptz NOT NULL,
    doubt_ms         bigint      NULL,
    PRIMARY KEY (authorization_id, operation_id)
) WITH (fillfactor = 70);

COMMENT ON COLUMN card_operation.sent_at IS 'when it was journalled, in real time: doubt is measured from here';
COMMENT ON COLUMN card_operation.doubt_ms IS 'how long its outcome was not known, where the first answer was lost';

CREATE INDEX card_operation_open ON card_operation (sent_at) WHERE state = 'PENDING';

GRANT SELECT, INSERT, UPDATE ON card, card_authorization, card_operation TO "{role}";
