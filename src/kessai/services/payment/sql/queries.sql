-- name: insert_payment
INSERT INTO payment.payment (payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id,
    captured_minor, refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id,
    caller, created_at, updated_at, expires_at, fee_minor, beneficiary_id, reference)
SELECT u.payment_id, u.kind, 'PENDING', 0, u.busy_with, u.amount_minor, u.asset, u.payer_id, u.payee_id,
    0, 0, 0, 0, '[]', NULL, u.exchange_id, u.details, u.processing_id,
    u.caller, u.created_at, u.created_at, u.expires_at, u.fee_minor, u.beneficiary_id, u.reference
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::uuid[],
    $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::timestamptz[], $14::bigint[], $15::text[],
    $16::text[])
    AS u(payment_id, kind, busy_with, amount_minor, asset, payer_id, payee_id, exchange_id,
    details, processing_id, caller, created_at, expires_at, fee_minor, beneficiary_id, reference)

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
    refusal_code = u.refusal_code, updated_at = u.updated_at, fee_minor = u.fee_minor, next_action = u.next_action,
    expires_at = u.expires_at
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::int[], $8::int[],
    $9::text[], $10::text[], $11::timestamptz[], $12::bigint[], $13::text[], $14::timestamptz[])
    AS u(payment_id, version, busy_with, state, captured_minor, refunded_minor, captures, refunds, funding,
    refusal_code, updated_at, fee_minor, next_action, expires_at)
WHERE p.payment_id = u.payment_id AND p.version = u.version - 1
RETURNING p.payment_id

-- name: insert_step
INSERT INTO payment.payment_step (payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id,
    caller, recorded_at, exchange_id, fee_minor)
SELECT u.payment_id, u.sequence, u.action, u.state, u.amount_minor, u.code, u.refund_id, u.processing_id, u.caller,
    u.recorded_at, u.exchange_id, u.fee_minor
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::uuid[], $8::text[],
    $9::text[], $10::timestamptz[], $11::uuid[], $12::bigint[])
    AS u(payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id, caller, recorded_at,
    exchange_id, fee_minor)

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
SET state = u.state, refusal_code = u.refusal_code, updated_at = u.updated_at, amount_minor = u.amount_minor
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::bigint[])
    AS u(payment_id, refund_id, state, refusal_code, updated_at, amount_minor)
WHERE r.payment_id = u.payment_id AND r.refund_id = u.refund_id
RETURNING r.payment_id

-- name: load_payments
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE payment_id = ANY ($1::uuid[])

-- name: payments_of_participant
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM (
    (SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
        refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
        created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
     FROM payment.payment
     WHERE payer_id = $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3)
    UNION ALL
    (SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
        refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
        created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
     FROM payment.payment
     WHERE payee_id = $1 AND payer_id <> $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3)
    UNION ALL
    (SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
        refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
        created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
     FROM payment.payment
     WHERE beneficiary_id = $1 AND payer_id <> $1 AND payee_id <> $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3)
) AS every_side
ORDER BY payment_id DESC
LIMIT $3

-- name: payments_of_payee
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE payee_id = $1 AND payment_id < $2::uuid AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
    AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY payment_id DESC
LIMIT $3

-- name: payments_by_reference
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE reference = $1 AND payment_id < $2::uuid AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
    AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY payment_id DESC
LIMIT $3

-- name: payments_by_time
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE (created_at, payment_id) < ($1, $2::uuid) AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
    AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
ORDER BY created_at DESC, payment_id DESC
LIMIT $3

-- name: steps_of_payments
SELECT payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id, caller, recorded_at,
    exchange_id, fee_minor
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
SELECT r.payment_id, r.refund_id, r.state, r.amount_minor, r.asset, r.reason, r.refusal_code, r.exchange_id,
    r.processing_id, r.caller, r.created_at, r.updated_at, p.kind
FROM payment.refund AS r
JOIN payment.payment AS p ON p.payment_id = r.payment_id
WHERE r.refund_id = ANY ($1::uuid[])

-- name: overdue_authorizations
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED', 'REQUIRES_ACTION') AND expires_at <= $1 AND busy_with IS NULL
    AND (expires_at, payment_id) > ($2, $3::uuid)
ORDER BY expires_at, payment_id
LIMIT $4

-- name: raise_spending
INSERT INTO payment.spending AS s (customer_id, kind, version)
SELECT u.customer_id, u.kind, u.version
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS u(customer_id, kind, version)
ON CONFLICT (customer_id, kind) DO UPDATE SET version = EXCLUDED.version WHERE s.version = EXCLUDED.version - 1
RETURNING customer_id

-- name: usage_of_payer
SELECT coalesce((SELECT s.version FROM payment.spending AS s WHERE s.customer_id = $1 AND s.kind = $2), 0) AS version,
    coalesce(sum(p.amount_minor) FILTER (WHERE p.created_at >= $3), 0)::bigint AS day_minor,
    coalesce(sum(p.amount_minor), 0)::bigint AS month_minor
FROM payment.payment AS p
WHERE p.payer_id = $1 AND p.kind = $2 AND p.created_at >= $4
    AND p.state NOT IN ('REFUSED', 'CANCELED', 'EXPIRED', 'RETURNED')

-- name: usage_of_payee
SELECT coalesce((SELECT s.version FROM payment.spending AS s WHERE s.customer_id = $1 AND s.kind = $2), 0) AS version,
    coalesce(sum(p.amount_minor) FILTER (WHERE p.created_at >= $3), 0)::bigint AS day_minor,
    coalesce(sum(p.amount_minor), 0)::bigint AS month_minor
FROM payment.payment AS p
WHERE p.payee_id = $1 AND p.kind = $2 AND p.created_at >= $4
    AND p.state NOT IN ('REFUSED', 'CANCELED', 'EXPIRED', 'RETURNED')

-- name: pending_of_payee
SELECT coalesce(sum(p.amount_minor - p.captured_minor), 0)::bigint AS pending_minor
FROM payment.payment AS p
WHERE p.payee_id = $1 AND p.kind = ANY ($2::text[])
    AND p.state IN ('REQUIRES_ACTION', 'AUTHORIZED', 'PARTIALLY_CAPTURED')

-- name: waiting_payments
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE state IN ('REQUIRES_ACTION', 'IN_FLIGHT') AND busy_with IS NULL AND payment_id > $1::uuid AND updated_at <= $2
ORDER BY payment_id
LIMIT $3
