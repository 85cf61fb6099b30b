-- name: insert_card
INSERT INTO cardgateway.card (card_id, customer_id, state, card_token, brand, last_four, expiry_month, expiry_year,
    created_at, removed_at)
SELECT u.card_id, u.customer_id, 'PENDING', '', '', '', 0, 0, u.created_at, NULL
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS u (card_id, customer_id, created_at)

-- name: settle_card
UPDATE cardgateway.card AS c
SET state = u.state, card_token = u.card_token, brand = u.brand, last_four = u.last_four,
    expiry_month = u.expiry_month, expiry_year = u.expiry_year
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int[], $7::int[])
    AS u (card_id, state, card_token, brand, last_four, expiry_month, expiry_year)
WHERE c.card_id = u.card_id
RETURNING c.card_id

-- name: remove_card
UPDATE cardgateway.card AS c
SET state = 'REMOVED', removed_at = u.removed_at
FROM unnest($1::uuid[], $2::timestamptz[]) AS u (card_id, removed_at)
WHERE c.card_id = u.card_id AND c.state = 'ACTIVE'
RETURNING c.card_id

-- name: cards_by_id
SELECT card_id, customer_id, state, card_token, brand, last_four, expiry_month, expiry_year, created_at, removed_at
FROM cardgateway.card
WHERE card_id = ANY ($1::uuid[])

-- name: cards_of_customer
SELECT card_id, customer_id, state, card_token, brand, last_four, expiry_month, expiry_year, created_at, removed_at
FROM cardgateway.card
WHERE customer_id = $1::text AND (state = 'ACTIVE' OR (state = 'REMOVED' AND $2::boolean))
ORDER BY created_at, card_id
LIMIT $3::int

-- name: insert_authorization
INSERT INTO cardgateway.card_authorization (authorization_id, customer_id, card_id, state, version, busy_with,
    amount_minor, asset, captured_minor, refunded_minor, refusal_code, action_url, reference, processing_id,
    unheard_since, aborted_at, created_at, updated_at, caller)
SELECT u.authorization_id, u.customer_id, u.card_id, u.state, 0, u.busy_with, u.amount_minor, u.asset, 0, 0, NULL,
    NULL, u.reference, u.processing_id, NULL, u.aborted_at, u.created_at, u.created_at, u.caller
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::uuid[], $6::bigint[], $7::text[], $8::text[],
    $9::text[], $10::timestamptz[], $11::timestamptz[], $12::text[])
    AS u (authorization_id, customer_id, card_id, state, busy_with, amount_minor, asset, reference, processing_id,
    aborted_at, created_at, caller)
ON CONFLICT (authorization_id) DO NOTHING
RETURNING authorization_id

-- name: claim_authorization
UPDATE cardgateway.card_authorization AS a
SET version = a.version + 1, busy_with = u.workflow_id, state = u.state, unheard_since = NULL
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[]) AS u (authorization_id, version, workflow_id, state)
WHERE a.authorization_id = u.authorization_id AND a.version = u.version AND a.busy_with IS NULL
RETURNING a.authorization_id

-- name: settle_authorization
UPDATE cardgateway.card_authorization AS a
SET version = a.version + 1, busy_with = NULL,
    state = CASE WHEN a.aborted_at IS NOT NULL AND u.state IN ('AUTHORIZED', 'REQUIRES_ACTION') THEN 'VOIDING'
        ELSE u.state END,
    captured_minor = u.captured_minor, refunded_minor = u.refunded_minor, refusal_code = u.refusal_code,
    action_url = u.action_url, unheard_since = COALESCE(a.unheard_since, u.unheard_since), updated_at = u.updated_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[])
    AS u (authorization_id, workflow_id, state, captured_minor, refunded_minor, refusal_code, action_url,
    unheard_since, updated_at)
WHERE a.authorization_id = u.authorization_id AND a.busy_with = u.workflow_id
RETURNING a.authorization_id

-- name: mark_unheard
UPDATE cardgateway.card_authorization
SET unheard_since = $2::timestamptz
WHERE authorization_id = $1::uuid AND unheard_since IS NULL AND aborted_at IS NULL
RETURNING authorization_id

-- name: mark_heard
UPDATE cardgateway.card_authorization
SET unheard_since = NULL
WHERE authorization_id = $1::uuid AND aborted_at IS NULL
RETURNING authorization_id

-- name: abort
UPDATE cardgateway.card_authorization
SET state = 'VOIDING', version = version + 1, aborted_at = $2::timestamptz, unheard_since = NULL
WHERE authorization_id = $1::uuid AND state = 'PENDING'
RETURNING authorization_id

-- name: abandon
UPDATE cardgateway.card_authorization
SET state = 'VOIDING', version = version + 1, aborted_at = $2::timestamptz, unheard_since = NULL
WHERE authorization_id = ANY ($3::uuid[]) AND unheard_since < $1::timestamptz
    AND (state = 'PENDING' OR (state IN ('REQUIRES_ACTION', 'AUTHORIZED') AND captured_minor = 0 AND busy_with IS NULL))
RETURNING authorization_id

-- name: unheard
SELECT authorization_id FROM cardgateway.card_authorization
WHERE unheard_since < $1::timestamptz
    AND (state = 'PENDING' OR (state IN ('REQUIRES_ACTION', 'AUTHORIZED') AND captured_minor = 0 AND busy_with IS NULL))
ORDER BY unheard_since
LIMIT $2::int

-- name: unfinished_aborts
SELECT authorization_id FROM cardgateway.card_authorization
WHERE state = 'VOIDING' AND busy_with IS NULL AND authorization_id > $1::uuid
ORDER BY authorization_id
LIMIT $2::int

-- name: is_aborted
SELECT authorization_id FROM cardgateway.card_authorization
WHERE authorization_id = ANY ($1::uuid[]) AND aborted_at IS NOT NULL

-- name: authorizations_by_id
SELECT authorization_id, customer_id, card_id, state, version, busy_with, amount_minor, asset, captured_minor,
    refunded_minor, refusal_code, action_url, reference, processing_id, created_at, updated_at
FROM cardgateway.card_authorization
WHERE authorization_id = ANY ($1::uuid[])

-- name: authorizations_of_customer
SELECT authorization_id, customer_id, card_id, state, version, busy_with, amount_minor, asset, captured_minor,
    refunded_minor, refusal_code, action_url, reference, processing_id, created_at, updated_at
FROM cardgateway.card_authorization
WHERE customer_id = $1::text AND (created_at, authorization_id) < ($2::timestamptz, $3::uuid)
ORDER BY created_at DESC, authorization_id DESC
LIMIT $4::int

-- name: insert_operation
INSERT INTO cardgateway.card_operation (authorization_id, operation_id, kind, state, amount_minor, final, refusal_code,
    processing_id, caller, instructed_at, settled_at, sent_at, doubt_ms)
SELECT u.authorization_id, u.operation_id, u.kind, 'PENDING', u.amount_minor, u.final, NULL, u.processing_id, u.caller,
    u.instructed_at, NULL, u.sent_at, NULL
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::boolean[], $6::text[], $7::text[],
    $8::timestamptz[], $9::timestamptz[])
    AS u (authorization_id, operation_id, kind, amount_minor, final, processing_id, caller, instructed_at, sent_at)

-- name: settle_operation
UPDATE cardgateway.card_operation AS o
SET state = u.state, refusal_code = u.refusal_code, settled_at = u.settled_at, doubt_ms = u.doubt_ms
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])
    AS u (authorization_id, operation_id, state, refusal_code, settled_at, doubt_ms)
WHERE o.authorization_id = u.authorization_id AND o.operation_id = u.operation_id
RETURNING o.operation_id

-- name: operations_of
SELECT authorization_id, operation_id, kind, state, amount_minor, final, refusal_code, processing_id, caller,
    instructed_at, settled_at
FROM cardgateway.card_operation
WHERE authorization_id = ANY ($1::uuid[])
ORDER BY authorization_id, sent_at, operation_id

-- name: in_doubt
SELECT count(*) AS operations, min(sent_at) AS since
FROM cardgateway.card_operation
WHERE state = 'PENDING' AND sent_at < $1::timestamptz

-- name: doubt_longest
SELECT max(doubt_ms) AS doubt_ms FROM cardgateway.card_operation WHERE sent_at >= $1::timestamptz
