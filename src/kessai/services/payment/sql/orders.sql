-- name: insert_orders
INSERT INTO payment.net_order (order_id, state, version, merchant_id, customer_id, payment_id, reference, asked,
    sealed_key, content_sha256, caller, created_at, updated_at, expires_at)
SELECT u.order_id, 'OPEN', 0, u.merchant_id, u.customer_id, NULL, u.reference, u.asked, u.sealed_key,
    u.content_sha256, u.caller, u.created_at, u.created_at, u.expires_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[],
    $9::timestamptz[], $10::timestamptz[])
    AS u(order_id, merchant_id, customer_id, reference, asked, sealed_key, content_sha256, caller, created_at,
    expires_at)
ON CONFLICT (order_id) DO NOTHING
RETURNING order_id

-- name: change_orders
UPDATE payment.net_order AS o
SET version = u.version, state = u.state, customer_id = u.customer_id, payment_id = u.payment_id,
    updated_at = u.updated_at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::timestamptz[])
    AS u(order_id, version, state, customer_id, payment_id, updated_at)
WHERE o.order_id = u.order_id AND o.version = u.version - 1 AND o.state = 'OPEN'
RETURNING o.order_id

-- name: insert_order_steps
INSERT INTO payment.net_order_step (order_id, sequence, action, state, payment_id, request_key, caller, recorded_at)
SELECT u.order_id, u.sequence, u.action, u.state, u.payment_id, u.request_key, u.caller, u.recorded_at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::timestamptz[])
    AS u(order_id, sequence, action, state, payment_id, request_key, caller, recorded_at)
ON CONFLICT (order_id, sequence) DO NOTHING

-- name: load_orders
SELECT order_id, state, version, customer_id, payment_id, asked, sealed_key, content_sha256, caller, created_at,
    updated_at, expires_at
FROM payment.net_order
WHERE order_id = ANY ($1::uuid[])

-- name: orders_of_merchant
SELECT order_id, state, version, customer_id, payment_id, asked, sealed_key, content_sha256, caller, created_at,
    updated_at, expires_at
FROM payment.net_order
WHERE merchant_id = $1 AND ($2::text IS NULL OR reference = $2) AND (created_at, order_id) < ($3, $4::uuid)
ORDER BY created_at DESC, order_id DESC
LIMIT $5

-- name: overdue_orders
SELECT order_id, state, version, customer_id, payment_id, asked, sealed_key, content_sha256, caller, created_at,
    updated_at, expires_at
FROM payment.net_order
WHERE state = 'OPEN' AND expires_at <= $1 AND (expires_at, order_id) > ($2, $3::uuid)
ORDER BY expires_at, order_id
LIMIT $4

-- name: steps_of_orders
SELECT order_id, sequence, action, state, payment_id, request_key, caller, recorded_at
FROM payment.net_order_step
WHERE order_id = ANY ($1::uuid[])
ORDER BY order_id, sequence
