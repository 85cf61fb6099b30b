-- name: insert_payment
INSERT INTO payment.payment (payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id,
    captured_minor, refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id,
    caller, created_at, updated_at, expires_at)
SELECT u.payment_id, u.kind, 'PENDING', 0, u.busy_with, u.amount_minor, u.asset, u.payer_id, u.payee_id,
    0, 0, 0, 0, '[]', NULL, u.exchange_id, u.details, u.processing_id,
    u.caller, u.created_at, u.created_at, u.expires_at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::uuid[],
    $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[])
    AS u(payment_id, kind, busy_with, amount_minor, asset, payer_id, payee_id, exchange_id,
    details, processing_id, caller, created_at, expires_at)

-- name: claim_payment
UPDATE payment.payment AS p
SET version = p.version + 1, busy_with = u.workflow_id
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[]) AS u(payment_id, version, workflow_id)
WHERE p.payment_id = u.payment_id AND p.version = u.version AND p.busy_with IS NULL
RETURNING p.payment_id

-- name: change_payment
UPDATE payment.payment AS p
SET version = u.version, busy_with = u.busy_with, state = u.state, captured_minor = u.captured_minor,
    refunded_minor = u.refunded_minor, captures = u.captures, refunds = u.refunds, funding = u.funding,
    refusal_code = u.refusal_code, updated_at = u.updated_at
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::int[],
    $9::text[], $10::text[], $11::timestamptz[])
    AS u(payment_id, version, busy_with, state, captured_minor, refunded_minor, captures, refunds, funding,
    refusal_code, updated_at)
WHERE p.payment_id = u.payment_id AND p.version = u.version - 1
RETURNING p.payment_id

-- name: insert_step
INSERT INTO payment.payment_step (payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id,
    caller, recorded_at)
SELECT u.payment_id, u.sequence, u.action, u.state, u.amount_minor, u.code, u.refund_id, u.processing_id, u.caller,
    u.recorded_at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::uuid[], $8::text[],
    $9::text[], $10::timestamptz[])
    AS u(payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id, caller, recorded_at)

-- name: insert_refund
INSERT INTO payment.refund (payment_id, refund_id, state, amount_minor, asset, reason, refusal_code, exchange_id,
    processing_id, caller, created_at, updated_at)
SELECT u.payment_id, u.refund_id, 'PENDING', u.amount_minor, u.asset, u.reason, NULL, u.exchange_id, u.processing_id,
    u.caller, u.created_at, u.created_at
FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[],
    $9::timestamptz[])
    AS u(payment_id, refund_id, amount_minor, asset, reason, exchange_id, processing_id, caller, created_at)

-- name: update_refund
UPDATE payment.refund AS r
SET state = u.state, refusal_code = u.refusal_code, updated_at = u.updated_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[])
    AS u(payment_id, refund_id, state, refusal_code, updated_at)
WHERE r.payment_id = u.payment_id AND r.refund_id = u.refund_id
RETURNING r.payment_id

-- name: load_payments
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at
FROM payment.payment
WHERE payment_id = ANY ($1::uuid[])

-- name: payments_of_participant
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at
FROM (
    (SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
        refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
        created_at, updated_at, expires_at
     FROM payment.payment WHERE payer_id = $1 AND payment_id < $2::uuid ORDER BY payment_id DESC LIMIT $3)
    UNION ALL
    (SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
        refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
        created_at, updated_at, expires_at
     FROM payment.payment WHERE payee_id = $1 AND payer_id <> $1 AND payment_id < $2::uuid
     ORDER BY payment_id DESC LIMIT $3)
) AS both_sides
ORDER BY payment_id DESC
LIMIT $3

-- name: steps_of_payments
SELECT payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id, caller, recorded_at
FROM payment.payment_step
WHERE payment_id = ANY ($1::uuid[])
ORDER BY payment_id, sequence

-- name: refunds_of_payments
SELECT payment_id, refund_id, state, amount_minor, asset, reason, refusal_code, exchange_id, processing_id, caller,
    created_at, updated_at
FROM payment.refund
WHERE payment_id = ANY ($1::uuid[])
ORDER BY payment_id, refund_id

-- name: refunds_by_id
SELECT payment_id, refund_id, state, amount_minor, asset, reason, refusal_code, exchange_id, processing_id, caller,
    created_at, updated_at
FROM payment.refund
WHERE refund_id = ANY ($1::uuid[])

-- name: overdue_authorizations
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at
FROM payment.payment
WHERE state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED') AND expires_at <= $1 AND busy_with IS NULL
    AND (expires_at, payment_id) > ($2, $3::uuid)
ORDER BY expires_at, payment_id
LIMIT $4
