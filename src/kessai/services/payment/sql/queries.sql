-- name: insert_payment
INSERT INTO payment.payment (payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id,
    captured_minor, refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id,
    caller, created_at, updated_at, expires_at, fee_minor, beneficiary_id, reference)
SELECT u.payment_id, u.kind, 'PENDING', 0, u.busy_with, u.amount_minor, u.asset, u.payer_id, u.payee_id,
    0, 0, 0, 0, '[]', NULL, u.exchange_id, u.details, u.processing_id,
    u.caller, u.created_at, u.created_at, u.expires_at, u.fee_minor, u.beneficiary_id, u.reference
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::text[]) AS kind, unnest($3::uuid[]) AS busy_with,
        unnest($4::bigint[]) AS amount_minor, unnest($5::text[]) AS asset, unnest($6::text[]) AS payer_id,
        unnest($7::text[]) AS payee_id, unnest($8::uuid[]) AS exchange_id, unnest($9::text[]) AS details,
        unnest($10::text[]) AS processing_id, unnest($11::text[]) AS caller, unnest($12::timestamptz[]) AS created_at,
        unnest($13::timestamptz[]) AS expires_at, unnest($14::bigint[]) AS fee_minor,
        unnest($15::text[]) AS beneficiary_id, unnest($16::text[]) AS reference
) AS u

-- name: claim_payment
UPDATE payment.payment AS p
SET version = p.version + 1, busy_with = u.workflow_id
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::bigint[]) AS version, unnest($3::uuid[]) AS workflow_id
) AS u
WHERE p.payment_id = u.payment_id AND p.version = u.version AND p.busy_with IS NULL
RETURNING p.payment_id

-- name: change_payment
UPDATE payment.payment AS p
SET version = u.version, busy_with = u.busy_with, state = u.state, captured_minor = u.captured_minor,
    refunded_minor = u.refunded_minor, captures = u.captures, refunds = u.refunds, funding = u.funding,
    refusal_code = u.refusal_code, updated_at = u.updated_at, fee_minor = u.fee_minor, next_action = u.next_action,
    expires_at = u.expires_at, waits = u.state IN ('REQUIRES_ACTION', 'IN_FLIGHT')
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::bigint[]) AS version, unnest($3::uuid[]) AS busy_with,
        unnest($4::text[]) AS state, unnest($5::bigint[]) AS captured_minor, unnest($6::bigint[]) AS refunded_minor,
        unnest($7::int[]) AS captures, unnest($8::int[]) AS refunds, unnest($9::text[]) AS funding,
        unnest($10::text[]) AS refusal_code, unnest($11::timestamptz[]) AS updated_at,
        unnest($12::bigint[]) AS fee_minor, unnest($13::text[]) AS next_action,
        unnest($14::timestamptz[]) AS expires_at
) AS u
WHERE p.payment_id = u.payment_id AND p.version = u.version - 1
RETURNING p.payment_id

-- name: insert_due
INSERT INTO payment.payment_due (due_at, payment_id, version)
SELECT u.due_at, u.payment_id, u.version
FROM (
    SELECT unnest($1::timestamptz[]) AS due_at, unnest($2::uuid[]) AS payment_id, unnest($3::bigint[]) AS version
) AS u

-- name: insert_step
INSERT INTO payment.payment_step (payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id,
    caller, recorded_at, exchange_id, fee_minor, given_back)
SELECT u.payment_id, u.sequence, u.action, u.state, u.amount_minor, u.code, u.refund_id, u.processing_id, u.caller,
    u.recorded_at, u.exchange_id, u.fee_minor, u.given_back
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::bigint[]) AS sequence, unnest($3::text[]) AS action,
        unnest($4::text[]) AS state, unnest($5::bigint[]) AS amount_minor, unnest($6::text[]) AS code,
        unnest($7::uuid[]) AS refund_id, unnest($8::text[]) AS processing_id, unnest($9::text[]) AS caller,
        unnest($10::timestamptz[]) AS recorded_at, unnest($11::uuid[]) AS exchange_id,
        unnest($12::bigint[]) AS fee_minor, unnest($13::text[]) AS given_back
) AS u

-- name: insert_refund
INSERT INTO payment.refund (payment_id, refund_id, state, amount_minor, asset, reason, refusal_code, exchange_id,
    processing_id, caller, created_at, updated_at)
SELECT u.payment_id, u.refund_id, 'PENDING', u.amount_minor, u.asset, u.reason, NULL, u.exchange_id, u.processing_id,
    u.caller, u.created_at, u.created_at
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::uuid[]) AS refund_id, unnest($3::bigint[]) AS amount_minor,
        unnest($4::text[]) AS asset, unnest($5::text[]) AS reason, unnest($6::uuid[]) AS exchange_id,
        unnest($7::text[]) AS processing_id, unnest($8::text[]) AS caller, unnest($9::timestamptz[]) AS created_at
) AS u

-- name: update_refund
UPDATE payment.refund AS r
SET state = u.state, refusal_code = u.refusal_code, updated_at = u.updated_at, amount_minor = u.amount_minor
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::uuid[]) AS refund_id, unnest($3::text[]) AS state,
        unnest($4::text[]) AS refusal_code, unnest($5::timestamptz[]) AS updated_at,
        unnest($6::bigint[]) AS amount_minor
) AS u
WHERE r.payment_id = u.payment_id AND r.refund_id = u.refund_id
RETURNING r.payment_id

-- name: load_payments
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE payment_id = ANY ($1::uuid[])

-- name: payments_listed
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE payment_id IN (
    (SELECT payment_id
     FROM payment.payment
     WHERE $8::text = 'participant' AND payer_id = $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3)
    UNION ALL
    (SELECT payment_id
     FROM payment.payment
     WHERE $8::text IN ('participant', 'payee') AND payee_id = $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3)
    UNION ALL
    (SELECT payment_id
     FROM payment.payment
     WHERE $8::text = 'participant' AND beneficiary_id = $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3)
    UNION ALL
    (SELECT payment_id
     FROM payment.payment
     WHERE $8::text = 'reference' AND reference = $1 AND payment_id < $2::uuid
        AND ($4::text IS NULL OR kind = $4) AND ($5::text IS NULL OR state = $5)
        AND ($6::timestamptz IS NULL OR created_at >= $6) AND ($7::timestamptz IS NULL OR created_at < $7)
     ORDER BY payment_id DESC LIMIT $3))
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
SELECT DISTINCT ON (d.due_at, d.payment_id) p.payment_id, p.kind, p.state, p.version, p.busy_with, p.amount_minor,
    p.asset, p.payer_id, p.payee_id,
    p.captured_minor, p.refunded_minor, p.captures, p.refunds, p.funding, p.refusal_code, p.exchange_id, p.details,
    p.processing_id, p.caller, p.created_at, p.updated_at, p.expires_at, p.fee_minor, p.beneficiary_id, p.next_action
FROM payment.payment_due AS d
JOIN payment.payment AS p ON p.payment_id = d.payment_id
WHERE d.due_at <= $1 AND (d.due_at, d.payment_id) > ($2, $3::uuid) AND p.expires_at = d.due_at
    AND p.state IN ('AUTHORIZED', 'PARTIALLY_CAPTURED', 'REQUIRES_ACTION') AND p.busy_with IS NULL
ORDER BY d.due_at, d.payment_id
LIMIT $4

-- name: forget_due
DELETE FROM payment.payment_due
WHERE (due_at, payment_id, version) IN (
    SELECT d.due_at, d.payment_id, d.version
    FROM payment.payment_due AS d
    JOIN payment.payment AS p ON p.payment_id = d.payment_id
    WHERE d.due_at <= $1
        AND (p.state IN ('CAPTURED', 'CANCELED', 'REFUSED', 'EXPIRED', 'RETURNED') OR p.expires_at IS DISTINCT FROM d.due_at)
    LIMIT $2
)
RETURNING payment_id

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
SELECT coalesce((SELECT s.version FROM payment.spending AS s WHERE s.customer_id = $1 AND s.kind = $3), 0) AS version,
    coalesce(sum(p.amount_minor - p.captured_minor) FILTER (WHERE p.state NOT IN ('PENDING', 'UNKNOWN')), 0)::bigint
        AS pending_minor,
    coalesce(sum(p.amount_minor - p.captured_minor) FILTER (WHERE p.state IN ('PENDING', 'UNKNOWN')), 0)::bigint
        AS undecided_minor
FROM payment.payment AS p
WHERE p.payee_id = $1 AND p.kind = ANY ($2::text[])
    AND p.state IN ('PENDING', 'UNKNOWN', 'REQUIRES_ACTION', 'AUTHORIZED', 'PARTIALLY_CAPTURED')

-- name: waiting_payments
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE waits AND busy_with IS NULL AND payment_id > $1::uuid AND updated_at <= $2
ORDER BY payment_id
LIMIT $3

-- name: note_came_back
INSERT INTO payment.came_back (payment_id, heard_at)
SELECT p.payment_id, $2
FROM payment.payment AS p
WHERE p.payment_id = ANY ($1::uuid[]) AND p.state <> 'RETURNED'
ON CONFLICT (payment_id) DO NOTHING

-- name: payments_came_back
SELECT p.payment_id, p.kind, p.state, p.version, p.busy_with, p.amount_minor, p.asset, p.payer_id, p.payee_id,
    p.captured_minor, p.refunded_minor, p.captures, p.refunds, p.funding, p.refusal_code, p.exchange_id, p.details,
    p.processing_id, p.caller, p.created_at, p.updated_at, p.expires_at, p.fee_minor, p.beneficiary_id, p.next_action
FROM payment.came_back AS c
JOIN payment.payment AS p ON p.payment_id = c.payment_id
WHERE p.busy_with IS NULL AND p.state <> 'RETURNED' AND c.payment_id > $1::uuid
ORDER BY c.payment_id
LIMIT $2

-- name: forget_came_back
DELETE FROM payment.came_back
WHERE payment_id IN (
    SELECT c.payment_id
    FROM payment.came_back AS c
    JOIN payment.payment AS p ON p.payment_id = c.payment_id
    WHERE p.state = 'RETURNED'
    LIMIT $1
)
RETURNING payment_id
