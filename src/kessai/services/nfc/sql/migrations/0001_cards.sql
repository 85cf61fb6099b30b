-- The vault of card numbers (PAN, Device-PAN): nothing else in the platform holds one.
-- shard: token
CREATE TABLE pan_vault (
    token       text        NOT NULL CHECK (token LIKE 'tok\_%' AND length(token) = 36),
    kind        text        NOT NULL CHECK (kind IN ('card', 'device')),
    sealed      bytea       NOT NULL,
    fingerprint bytea       NOT NULL,
    last_four   text        NOT NULL CHECK (length(last_four) = 4),
    created_at  timestamptz NOT NULL,
    PRIMARY KEY (token)
) WITH (fillfactor = 80);
COMMENT ON COLUMN pan_vault.sealed IS 'AES-256-GCM of the number and its expiry, bound to the token';
COMMENT ON COLUMN pan_vault.fingerprint IS 'the one by which pan_lookup knows it: HMAC-SHA-256 under the key it is sealed with';

-- shard: fingerprint
CREATE TABLE pan_lookup (
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32),
    token       text  NOT NULL,
    PRIMARY KEY (fingerprint)
);
COMMENT ON TABLE pan_lookup IS 'from the HMAC of a number to its token: one number, one token';

-- Batches of cards that were asked of the issuer (発行依頼 ► 発行済 ► 取込済).
-- shard: batch_id
CREATE TABLE issue_batch (
    batch_id     uuid        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('REQUESTED', 'ISSUED', 'IMPORTED', 'REFUSED')),
    version      bigint      NOT NULL CHECK (version >= 1),
    sequence     bigint      NOT NULL CHECK (sequence BETWEEN 1 AND 999999),
    count        bigint      NOT NULL CHECK (count BETWEEN 1 AND 999999),
    imported     bigint      NOT NULL CHECK (imported BETWEEN 0 AND count),
    wrong        bigint      NOT NULL CHECK (wrong >= 0),
    code         text,
    digest       bytea       NOT NULL,
    requested_by text        NOT NULL,
    requested_at timestamptz NOT NULL,
    sent_at      timestamptz,
    imported_at  timestamptz,
    PRIMARY KEY (batch_id),
    CHECK ((state = 'IMPORTED') = (imported_at IS NOT NULL)),
    CHECK (state <> 'REFUSED' OR code IS NOT NULL)
) WITH (fillfactor = 80);
CREATE INDEX issue_batches_by_time ON issue_batch (requested_at, batch_id);
CREATE INDEX issue_batches_open ON issue_batch (batch_id) WHERE state IN ('REQUESTED', 'ISSUED');

-- shard: batch_id
CREATE TABLE issue_step (
    batch_id    uuid        NOT NULL,
    version     bigint      NOT NULL CHECK (version >= 1),
    state       text        NOT NULL,
    detail      text        NOT NULL,
    caller      text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (batch_id, version)
);

-- shard: batch_id
CREATE TABLE issue_error (
    batch_id uuid   NOT NULL,
    ordinal  bigint NOT NULL CHECK (ordinal >= 1),
    line     bigint NOT NULL,
    code     text   NOT NULL,
    reason   text   CHECK (length(reason) <= 4),
    PRIMARY KEY (batch_id, ordinal)
);

-- Cards that the issuer made in advance. Each is given away once.
-- shard: reference
CREATE TABLE pool_card (
    reference   text        NOT NULL CHECK (length(reference) <= 16),
    token       text        NOT NULL,
    last_four   text        NOT NULL CHECK (length(last_four) = 4),
    expires_on  date        NOT NULL,
    batch_id    uuid        NOT NULL,
    line        bigint      NOT NULL,
    state       text        NOT NULL CHECK (state IN ('FREE', 'ASSIGNED')),
    card_id     uuid,
    imported_at timestamptz NOT NULL,
    assigned_at timestamptz,
    PRIMARY KEY (reference),
    CHECK ((state = 'ASSIGNED') = (card_id IS NOT NULL) AND (state = 'ASSIGNED') = (assigned_at IS NOT NULL))
) WITH (fillfactor = 70);
COMMENT ON COLUMN pool_card.reference IS 'the issuer''s name for the card, by which clearing files speak of it';
CREATE INDEX pool_free ON pool_card (expires_on, reference) WHERE state = 'FREE';
CREATE INDEX pool_card_of_token ON pool_card (token);
CREATE INDEX pool_cards_of_batch ON pool_card (batch_id, line);

-- Which card of a customer is not closed: one at most.
-- shard: customer_id
CREATE TABLE customer_card (
    customer_id text   NOT NULL,
    card_id     uuid   NOT NULL,
    version     bigint NOT NULL CHECK (version >= 1),
    PRIMARY KEY (customer_id)
) WITH (fillfactor = 80);

-- Customers' cards as they are now; how they came to be so is in card_step. The version guards every change.
-- shard: card_id
CREATE TABLE card (
    card_id     uuid        NOT NULL,
    customer_id text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('PENDING', 'ACTIVE', 'LOCKED', 'CLOSED')),
    lock_reason text        CHECK (lock_reason IN ('customer', 'lost', 'stolen', 'risk')),
    reference   text,
    token       text,
    last_four   text        CHECK (length(last_four) = 4),
    expires_on  date,
    replaces    uuid,
    replaced_by uuid,
    version     bigint      NOT NULL CHECK (version >= 1),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (card_id),
    CHECK (state NOT IN ('ACTIVE', 'LOCKED') OR token IS NOT NULL),
    CHECK (state <> 'LOCKED' OR lock_reason IS NOT NULL),
    CHECK ((token IS NULL) = (reference IS NULL) AND (token IS NULL) = (last_four IS NULL)
        AND (token IS NULL) = (expires_on IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX cards_of_customer ON card (customer_id, created_at, card_id);
CREATE INDEX card_of_token ON card (token) WHERE token IS NOT NULL;
CREATE INDEX card_of_reference ON card (reference) WHERE reference IS NOT NULL;

-- The verification of the phone number (SMS認証). Only digests of codes are kept.
-- shard: card_id
CREATE TABLE phone_check (
    card_id      uuid        NOT NULL,
    sealed       bytea       NOT NULL,
    fingerprint  bytea       NOT NULL,
    last_four    text        NOT NULL CHECK (length(last_four) = 4),
    code_digest  bytea       NOT NULL,
    sends        bigint      NOT NULL CHECK (sends >= 1),
    attempts     bigint      NOT NULL CHECK (attempts >= 0),
    delivery     text        NOT NULL CHECK (delivery IN ('sending', 'sent', 'refused', 'not_sent', 'unknown')),
    sent_at      timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    verified_at  timestamptz,
    PRIMARY KEY (card_id)
) WITH (fillfactor = 70);
COMMENT ON COLUMN phone_check.sealed IS 'the phone number, AES-256-GCM, bound to the card';
COMMENT ON COLUMN phone_check.fingerprint IS 'HMAC-SHA-256 of the phone number: limits are per number';
COMMENT ON COLUMN phone_check.code_digest IS 'HMAC-SHA-256 of the last code';

-- How many messages a number or a customer has had on a day.
-- shard: subject
CREATE TABLE sms_quota (
    subject bytea  NOT NULL,
    day     date   NOT NULL,
    sends   bigint NOT NULL CHECK (sends >= 1),
    PRIMARY KEY (subject, day)
) WITH (fillfactor = 70);
COMMENT ON COLUMN sms_quota.subject IS 'HMAC-SHA-256 of a phone number or a customer''s id';

-- Phones with a number of their own.
-- shard: card_id
CREATE TABLE device (
    card_id      uuid        NOT NULL,
    device_id    uuid        NOT NULL,
    platform     text        NOT NULL CHECK (platform IN ('apple', 'android')),
    state        text        NOT NULL CHECK (state IN ('REQUESTED', 'AUTHENTICATED', 'ACTIVE', 'SUSPENDED', 'DELETED')),
    pending      text        CHECK (pending IN ('provision', 'authenticate', 'suspend', 'resume', 'delete')),
    asked_at     timestamptz,
    suspended_by text        CHECK (suspended_by IN ('customer', 'wallet', 'lock')),
    token        text,
    last_four    text        CHECK (length(last_four) = 4),
    expires_on   date,
    refusal_code text,
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    PRIMARY KEY (card_id, device_id),
    CHECK (state NOT IN ('ACTIVE', 'SUSPENDED') OR token IS NOT NULL),
    CHECK ((state = 'SUSPENDED') = (suspended_by IS NOT NULL)),
    CHECK ((pending IS NULL) = (asked_at IS NULL)),
    CHECK ((token IS NULL) = (last_four IS NULL) AND (token IS NULL) = (expires_on IS NULL))
) WITH (fillfactor = 70);
COMMENT ON COLUMN device.pending IS 'what the token service has not confirmed: inquired, and asked again, until it has';
COMMENT ON COLUMN device.asked_at IS 'real time since when that is so';
CREATE INDEX device_by_id ON device (device_id);
CREATE INDEX device_of_token ON device (token) WHERE token IS NOT NULL;
CREATE INDEX devices_pending ON device (asked_at) WHERE pending IS NOT NULL;

-- Everything that was ever done to a card, its phone number and its devices.
-- shard: card_id
CREATE TABLE card_step (
    card_id      uuid        NOT NULL,
    version      bigint      NOT NULL CHECK (version >= 1),
    act_id       uuid        NOT NULL,
    digest       bytea       NOT NULL,
    kind         text        NOT NULL,
    card_state   text        NOT NULL,
    device_id    uuid,
    device_state text,
    detail       text        NOT NULL,
    note         text        NOT NULL,
    caller       text        NOT NULL,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (card_id, version)
);
COMMENT ON COLUMN card_step.act_id IS 'the call that did it: how a repetition is known';
COMMENT ON COLUMN card_step.digest IS 'HMAC-SHA-256 of the request, to tell a repetition from a reused key';
COMMENT ON COLUMN card_step.detail IS 'JSON';
CREATE INDEX card_step_of_act ON card_step (act_id);

-- How far the token service's own events were heard, and how many request files were made.
-- shard: feed
CREATE TABLE feed_place (
    feed     text   NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    PRIMARY KEY (feed)
) WITH (fillfactor = 70);

GRANT SELECT, INSERT ON pan_vault, pan_lookup, issue_batch, issue_step, issue_error, pool_card, customer_card, card,
    phone_check, sms_quota, device, card_step, feed_place TO "{role}";
GRANT UPDATE (sealed, fingerprint) ON pan_vault TO "{role}";
GRANT DELETE ON pan_lookup TO "{role}";
GRANT UPDATE (state, version, imported, wrong, code, sent_at, imported_at) ON issue_batch TO "{role}";
GRANT UPDATE (state, card_id, assigned_at) ON pool_card TO "{role}";
GRANT UPDATE (card_id, version) ON customer_card TO "{role}";
GRANT UPDATE (state, lock_reason, reference, token, last_four, expires_on, replaced_by, version, updated_at) ON card
    TO "{role}";
GRANT UPDATE (sealed, fingerprint, code_digest, sends, attempts, delivery, sent_at, expires_at, verified_at)
    ON phone_check TO "{role}";
GRANT UPDATE (sends) ON sms_quota TO "{role}";
GRANT UPDATE (state, pending, asked_at, suspended_by, token, last_four, expires_on, refusal_code, updated_at) ON device
    TO "{role}";
GRANT UPDATE (position) ON feed_place TO "{role}";
