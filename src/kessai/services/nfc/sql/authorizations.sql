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
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::bytea[],
            $9::text[], $10::text[], $11::uuid[], $12::text[], $13::uuid[], $14::bigint[], $15::bigint[], $16::text[],
            $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[],
            $25::text[], $26::text[], $27::text[], $28::text[], $29::text[], $30::bytea[], $31::text[],
            $32::boolean[], $33::text[], $34::text[], $35::text[], $36::bigint[], $37::bigint[], $38::text[],
            $39::timestamptz[], $40::timestamptz[], $41::bigint[])
     AS t (authorization_id, message_key, kind, state, work, work_since, caller, digest, token, last_four, card_id,
           customer_id, device_id, amount_minor, stands_minor, currency, mcc, entry_mode, category, merchant, terminal,
           place, acquirer, rrn, stan, transmitted, processing_code, approval_code, response, answer, refusal_code,
           stood_in, plan, payment_id, payment_state, captured_minor, refunded_minor, processing_id, received_at,
           updated_at, version)
ON CONFLICT DO NOTHING
RETURNING authorization_id

-- name: update_authorizations
UPDATE nfc.id_authorization AS a
SET state = t.state, work = t.work, work_since = t.work_since, stands_minor = t.stands_minor,
    approval_code = t.approval_code, response = t.response, answer = t.answer, refusal_code = t.refusal_code,
    stood_in = t.stood_in, plan = t.plan, payment_id = t.payment_id, payment_state = t.payment_state,
    captured_minor = t.captured_minor, refunded_minor = t.refunded_minor, updated_at = t.updated_at,
    version = t.version
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[], $7::text[], $8::text[],
            $9::bytea[], $10::text[], $11::boolean[], $12::text[], $13::text[], $14::text[], $15::bigint[],
            $16::bigint[], $17::timestamptz[], $18::bigint[])
     AS t (authorization_id, known, state, work, work_since, stands_minor, approval_code, response, answer,
           refusal_code, stood_in, plan, payment_id, payment_state, captured_minor, refunded_minor, updated_at, version)
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
FROM unnest($1::uuid[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bigint[])
     AS t (card_id, day, day_minor, day_count, month_minor, recent, version)
ON CONFLICT DO NOTHING
RETURNING card_id

-- name: update_usages
UPDATE nfc.card_usage AS u
SET day = t.day, day_minor = t.day_minor, day_count = t.day_count, month_minor = t.month_minor, recent = t.recent,
    version = t.version
FROM unnest($1::uuid[], $2::bigint[], $3::date[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[], $8::bigint[])
     AS t (card_id, known, day, day_minor, day_count, month_minor, recent, version)
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
