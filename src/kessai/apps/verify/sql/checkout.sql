-- name: codes_without_their_payment
SELECT 'one_time_code' AS relation, 'otc_' || encode(uuid_send(c.code_id), 'hex') AS key,
    CASE WHEN p.payment_id IS NULL THEN 'it was used by a payment that does not exist'
        WHEN p.kind <> 'charge' THEN format('it was used by a %s', p.kind)
        WHEN p.payer_id <> c.customer_id THEN format('it is %s''s, who paid with it is %s', c.customer_id, p.payer_id)
        ELSE 'it was used at another time than its payment was made' END AS sentence
FROM payment.one_time_code AS c LEFT JOIN payment.payment AS p ON p.payment_id = c.payment_id
WHERE c.used_at IS NOT NULL
    AND (p.payment_id IS NULL OR p.kind <> 'charge' OR p.payer_id <> c.customer_id OR p.created_at <> c.used_at)
LIMIT $1;

-- name: codes_used_when_worthless
SELECT 'one_time_code' AS relation, 'otc_' || encode(uuid_send(c.code_id), 'hex') AS key,
    CASE WHEN c.revoked_at IS NOT NULL THEN 'it was used, and revoked as well'
        ELSE 'it was used outside the time for which it was issued' END AS sentence
FROM payment.one_time_code AS c
WHERE c.used_at IS NOT NULL AND (c.revoked_at IS NOT NULL OR c.used_at >= c.expires_at OR c.used_at < c.issued_at)
LIMIT $1;

-- name: payments_by_several_codes
SELECT 'one_time_code' AS relation, string_agg('otc_' || encode(uuid_send(c.code_id), 'hex'), ', ') AS key,
    'one payment used all of them' AS sentence
FROM payment.one_time_code AS c
WHERE c.payment_id IS NOT NULL
GROUP BY c.payment_id
HAVING count(*) > 1
LIMIT $1;

-- name: payments_of_several_orders
SELECT 'net_order_step' AS relation, string_agg('ord_' || encode(uuid_send(s.order_id), 'hex'), ', ') AS key,
    'one payment confirmed all of them, or one of them twice' AS sentence
FROM payment.net_order_step AS s
WHERE s.action = 'confirm' AND s.payment_id IS NOT NULL
GROUP BY s.payment_id
HAVING count(*) > 1
LIMIT $1;

-- name: orphaned_order_steps
SELECT 'net_order_step' AS relation, 'ord_' || encode(uuid_send(s.order_id), 'hex') || '/' || s.sequence AS key,
    'there is no such order' AS sentence
FROM payment.net_order_step AS s LEFT JOIN payment.net_order AS o ON o.order_id = s.order_id
WHERE o.order_id IS NULL
LIMIT $1;

-- name: orders
SELECT o.order_id, o.state, o.version, o.merchant_id, o.customer_id, o.payment_id, o.reference, o.asked,
    o.content_sha256, o.expires_at, s.sequences, s.actions, s.states, s.payments,
    p.payment_id IS NOT NULL AS paid, p.kind, p.state AS payment_state, p.payer_id, p.payee_id, p.amount_minor, p.asset,
    p.reference AS payment_reference, p.created_at AS paid_at
FROM payment.net_order AS o
LEFT JOIN (
    SELECT order_id, array_agg(sequence ORDER BY sequence) AS sequences, array_agg(action ORDER BY sequence) AS actions,
        array_agg(state ORDER BY sequence) AS states, array_agg(payment_id ORDER BY sequence) AS payments
    FROM payment.net_order_step GROUP BY order_id
) AS s ON s.order_id = o.order_id
LEFT JOIN payment.payment AS p ON p.payment_id = o.payment_id;
