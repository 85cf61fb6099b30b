-- name: authorizations_by_id
SELECT authorization_id, message_key, kind, state, work, work_since, caller, digest, token, last_four, card_id,
       customer_id, device_id, amount_minor, stands_minor, currency, mcc, entry_mode, category, merchant, terminal,
       place, acquirer, rrn, stan, transmitted, processing_code, approval_code, response, answer, refusal_code,
       stood_in, plan, payment_id, payment_state, captured_minor, refunded_minor, processing_id, received_at,
       updated_at, version
FROM nfc.id_authorization
WHERE authorization_id = ANY ($1::uuid[])

-- name: insert_authorizations
INSERT INTO nfc.id_authorization (authorization_id, message_key, kind, state, work, work_since, caller, digest, token,
       last_four, card_id, customer_id, device_id, amount_minor, stands_minor, currency, mcc, entry_mode, category,
       merchant, terminal, place, acquirer, rrn, stan, transmitted, processing_code, approval_code, response, answer,
       refusal_code, stood_in, plan, payment_id, payment_state, captured_minor, refunded_minor, processing_id,
       received_at, updated_at, version)
SELECT authorization_id, message_key, kind, state, work, work_since, caller, digest, token, last_four, card_id,
       customer_id, device_id, amount_minor, stands_minor, currency, mcc, entry_mode, category, merchant, terminal,
       place, acquirer, rrn, stan, transmitted, processing_code, approval_code, response, answer, refusal_code,
       stood_in, plan, payment_id, payment_state, captured_minor, refunded_minor, processing_id, received_at,
       updated_at, version
FROM (
    SELECT unnest($1::uuid[]) AS authorization_id, unnest($2::text[]) AS message_key, unnest($3::text[]) AS kind,
        unnest($4::text[]) AS state, unnest($5::text[]) AS work, unnest($6::timestamptz[]) AS work_since,
        unnest($7::text[]) AS caller, unnest($8::bytea[]) AS digest, unnest($9::text[]) AS token,
        unnest($10::text[]) AS last_four, unnest($11::uuid[]) AS card_id, unnest($12::text[]) AS customer_id,
        unnest($13::uuid[]) AS device_id, unnest($14::bigint[]) AS amount_minor,
        unnest($15::bigint[]) AS stands_minor, unnest($16::text[]) AS currency, unnest($17::text[]) AS mcc,
        unnest($18::text[]) AS entry_mode, unnest($19::text[]) AS category, unnest($20::text[]) AS merchant,
        unnest($21::text[]) AS terminal, unnest($22::text[]) AS place, unnest($23::text[]) AS acquirer,
        unnest($24::text[]) AS rrn, unnest($25::text[]) AS stan, unnest($26::text[]) AS transmitted,
        unnest($27::text[]) AS processing_code, unnest($28::text[]) AS approval_code,
        unnest($29::text[]) AS response, unnest($30::bytea[]) AS answer, unnest($31::text[]) AS refusal_code,
        unnest($32::boolean[]) AS stood_in, unnest($33::text[]) AS plan, unnest($34::text[]) AS payment_id,
        unnest($35::text[]) AS payment_state, unnest($36::bigint[]) AS captured_minor,
        unnest($37::bigint[]) AS refunded_minor, unnest($38::text[]) AS processing_id,
        unnest($39::timestamptz[]) AS received_at, unnest($40::timestamptz[]) AS updated_at,
        unnest($41::bigint[]) AS version
) AS t
ON CONFLICT DO NOTHING
RETURNING authorization_id

-- name: update_authorizations
UPDATE nfc.id_authorization AS a
SET state = t.state, work = t.work, work_since = t.work_since, stands_minor = t.stands_minor,
    approval_code = t.approval_code, response = t.response, answer = t.answer, refusal_code = t.refusal_code,
    stood_in = t.stood_in, plan = t.plan, payment_id = t.payment_id, payment_state = t.payment_state,
    captured_minor = t.captured_minor, refunded_minor = t.refunded_minor, updated_at = t.updated_at,
    version = t.version
FROM (
    SELECT unnest($1::uuid[]) AS authorization_id, unnest($2::bigint[]) AS known, unnest($3::text[]) AS state,
        unnest($4::text[]) AS work, unnest($5::timestamptz[]) AS work_since, unnest($6::bigint[]) AS stands_minor,
        unnest($7::text[]) AS approval_code, unnest($8::text[]) AS response, unnest($9::bytea[]) AS answer,
        unnest($10::text[]) AS refusal_code, unnest($11::boolean[]) AS stood_in, unnest($12::text[]) AS plan,
        unnest($13::text[]) AS payment_id, unnest($14::text[]) AS payment_state,
        unnest($15::bigint[]) AS captured_minor, unnest($16::bigint[]) AS refunded_minor,
        unnest($17::timestamptz[]) AS updated_at, unnest($18::bigint[]) AS version
) AS t
WHERE a.authorization_id = t.authorization_id AND a.version = t.known
RETURNING a.authorization_id

-- name: reversals_of
SELECT authorization_id, reversal_id, mti, stands_minor, response, answer, recorded_at
FROM nfc.id_reversal
WHERE authorization_id = ANY ($1::uuid[])
ORDER BY recorded_at, reversal_id

-- name: insert_reversals
INSERT INTO nfc.id_reversal (authorization_id, reversal_id, mti, stands_minor, response, answer, recorded_at)
SELECT authorization_id, reversal_id, mti, stands_minor, response, answer, recorded_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::bytea[], $7::timestamptz[])
     AS t (authorization_id, reversal_id, mti, stands_minor, response, answer, recorded_at)
ON CONFLICT DO NOTHING
RETURNING authorization_id

-- name: usages_of
SELECT card_id, day, day_minor, day_count, month_minor, recent, version
FROM nfc.card_usage
WHERE card_id = ANY ($1::uuid[])

-- name: insert_usages
INSERT INTO nfc.card_usage (card_id, day, day_minor, day_count, month_minor, recent, version)
SELECT card_id, day, day_minor, day_count, month_minor, recent, version
FROM (
    SELECT unnest($1::uuid[]) AS card_id, unnest($2::date[]) AS day, unnest($3::bigint[]) AS day_minor,
        unnest($4::bigint[]) AS day_count, unnest($5::bigint[]) AS month_minor, unnest($6::bytea[]) AS recent,
        unnest($7::bigint[]) AS version
) AS t
ON CONFLICT DO NOTHING
RETURNING card_id

-- name: update_usages
UPDATE nfc.card_usage AS u
SET day = t.day, day_minor = t.day_minor, day_count = t.day_count, month_minor = t.month_minor, recent = t.recent,
    version = t.version
FROM (
    SELECT unnest($1::uuid[]) AS card_id, unnest($2::bigint[]) AS known, unnest($3::date[]) AS day,
        unnest($4::bigint[]) AS day_minor, unnest($5::bigint[]) AS day_count, unnest($6::bigint[]) AS month_minor,
        unnest($7::bytea[]) AS recent, unnest($8::bigint[]) AS version
) AS t
WHERE u.card_id = t.card_id AND u.version = t.known
RETURNING u.card_id

-- name: open_work
SELECT authorization_id, work_since
FROM nfc.id_authorization
WHERE work IS NOT NULL AND work_since < $1 AND (work_since, authorization_id) > ($2::timestamptz, $3::uuid)
ORDER BY work_since, authorization_id
LIMIT $4

-- name: authorizations_of_customer
SELECT authorization_id
FROM nfc.id_authorization
WHERE customer_id = $1 AND (received_at, authorization_id) < ($2::timestamptz, $3::uuid)
ORDER BY received_at DESC, authorization_id DESC
LIMIT $4

-- name: standing_before
SELECT authorization_id, received_at
FROM nfc.id_authorization
WHERE state = 'APPROVED' AND received_at < $1 AND (received_at, authorization_id) > ($2::timestamptz, $3::uuid)
ORDER BY received_at, authorization_id
LIMIT $4

-- name: authorizations_of_payments
SELECT authorization_id FROM nfc.id_authorization WHERE payment_id = ANY ($1::text[])

-- name: authorizations_of_processings
SELECT authorization_id FROM nfc.id_authorization WHERE processing_id = ANY ($1::text[])

-- name: refunds_of
SELECT authorization_id, refund_id, amount_minor, state, recorded_at
FROM nfc.id_refund
WHERE authorization_id = ANY ($1::uuid[])
ORDER BY authorization_id, refund_id

-- name: insert_refunds
INSERT INTO nfc.id_refund (authorization_id, refund_id, amount_minor, state, recorded_at)
SELECT authorization_id, refund_id, amount_minor, state, recorded_at
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[])
     AS t (authorization_id, refund_id, amount_minor, state, recorded_at)
ON CONFLICT DO NOTHING

-- name: refused_payments_of
SELECT authorization_id, payment_id, plan
FROM nfc.id_refused_payment
WHERE authorization_id = ANY ($1::uuid[])
ORDER BY authorization_id, payment_id

-- name: insert_refused_payments
INSERT INTO nfc.id_refused_payment (authorization_id, payment_id, plan)
SELECT authorization_id, payment_id, plan
FROM unnest($1::uuid[], $2::text[], $3::text[]) AS t (authorization_id, payment_id, plan)
ON CONFLICT DO NOTHING

-- name: insert_events
-- What each guarded part of the flush gave takes the place of the last parameter. Where it is not what it was to give,
-- there is no count, and nothing is written.
INSERT INTO nfc.outbox (outbox_id, topic, event_count, payload, recorded_at)
SELECT u.outbox_id, u.topic, CASE WHEN $6::int[] = $7::int[] THEN u.event_count END, u.payload, u.recorded_at
FROM (
    SELECT unnest($1::uuid[]) AS outbox_id, unnest($2::text[]) AS topic, unnest($3::int[]) AS event_count,
        unnest($4::bytea[]) AS payload, unnest($5::timestamptz[]) AS recorded_at
) AS u
