-- name: business_clock
SELECT offset_us, frozen_at FROM sandbox.clock WHERE id = 1;

-- name: payments
SELECT p.payment_id, p.kind, p.state, p.version, p.busy_with IS NOT NULL AS busy, p.amount_minor, p.captured_minor,
    p.refunded_minor, p.captures, p.refunds, p.exchange_id, p.updated_at, p.expires_at, p.payer_id, p.payee_id,
    p.funding, p.fee_minor, s.fees,
    o.workflow_id IS NOT NULL AS worked_on, e.record, x.state AS exchange_state, x.progress, s.sequences, s.actions,
    s.states, s.amounts, s.instants, coalesce(r.succeeded, 0) AS refunds_made, coalesce(r.amount, 0)::bigint AS refunds_amount
FROM payment.payment AS p
LEFT JOIN payment.workflow_open AS o ON o.workflow_id = encode(uuid_send(p.busy_with), 'hex')
LEFT JOIN ledger.exchange AS e ON e.exchange_id = p.exchange_id AND substr(e.record, 65, 8) <> 'refused"'::bytea
LEFT JOIN ledger.exchange_state AS x ON x.exchange_id = p.exchange_id
LEFT JOIN (
    SELECT payment_id, array_agg(sequence ORDER BY sequence) AS sequences, array_agg(action ORDER BY sequence) AS actions,
        array_agg(state ORDER BY sequence) AS states, array_agg(amount_minor ORDER BY sequence) AS amounts,
        array_agg(recorded_at ORDER BY sequence) AS instants, array_agg(fee_minor ORDER BY sequence) AS fees
    FROM payment.payment_step GROUP BY payment_id
) AS s ON s.payment_id = p.payment_id
LEFT JOIN (
    SELECT payment_id, count(*) AS succeeded, sum(amount_minor) AS amount
    FROM payment.refund WHERE state = 'SUCCEEDED' GROUP BY payment_id
) AS r ON r.payment_id = p.payment_id;

-- name: refunds
SELECT f.refund_id, f.payment_id, f.state, f.amount_minor, f.exchange_id, p.exchange_id AS original_id,
    p.kind, p.payer_id, p.payee_id, p.busy_with IS NOT NULL AS busy, e.record, x.record AS surplus_record
FROM payment.refund AS f
LEFT JOIN payment.payment AS p ON p.payment_id = f.payment_id
LEFT JOIN payment.payment_step AS s
    ON s.payment_id = f.payment_id AND s.refund_id = f.refund_id AND s.action = 'refund'
LEFT JOIN ledger.exchange AS e ON e.exchange_id = f.exchange_id AND substr(e.record, 65, 8) <> 'refused"'::bytea
LEFT JOIN ledger.exchange AS x ON x.exchange_id = s.exchange_id AND substr(x.record, 65, 8) <> 'refused"'::bytea;

-- name: further_exchanges
SELECT s.payment_id, s.sequence, s.action, s.amount_minor, s.fee_minor, p.kind, p.payer_id, p.beneficiary_id,
    p.exchange_id AS original_id, e.record
FROM payment.payment_step AS s
JOIN payment.payment AS p ON p.payment_id = s.payment_id
LEFT JOIN ledger.exchange AS e ON e.exchange_id = s.exchange_id AND substr(e.record, 65, 8) <> 'refused"'::bytea
WHERE s.exchange_id IS NOT NULL;

-- name: exchanges_without_payment
SELECT 'exchange' AS relation, 'exc_' || encode(uuid_send(r.exchange_id), 'hex') AS key,
    format('it was made for %s, which does not exist or has another exchange', r.reference) AS sentence
FROM ledger.exchange_reference AS r
LEFT JOIN payment.payment AS p ON p.exchange_id = r.exchange_id
    AND encode(uuid_send(p.payment_id), 'hex') = substr(r.reference, 5)
WHERE substr(r.reference, 1, 4) = ANY($2::text[]) AND r.reference ~ '^[a-z]{3}_[0-9a-f]{32}$' AND p.payment_id IS NULL
LIMIT $1;

-- name: exchanges_without_refund
SELECT 'exchange' AS relation, 'exc_' || encode(uuid_send(r.exchange_id), 'hex') AS key,
    format('it was made for %s, which does not exist or has another exchange', r.reference) AS sentence
FROM ledger.exchange_reference AS r
LEFT JOIN payment.refund AS f ON f.exchange_id = r.exchange_id
    AND encode(uuid_send(f.refund_id), 'hex') = substr(r.reference, 5)
WHERE r.reference ~ '^rfn_[0-9a-f]{32}$' AND f.refund_id IS NULL
LIMIT $1;

-- name: orphaned_steps
SELECT 'payment_step' AS relation, encode(uuid_send(s.payment_id), 'hex') || '/' || s.sequence AS key,
    'there is no such payment' AS sentence
FROM payment.payment_step AS s LEFT JOIN payment.payment AS p ON p.payment_id = s.payment_id
WHERE p.payment_id IS NULL
LIMIT $1;

-- name: unpublished_steps
SELECT 'outbox' AS relation, 'payment.payment' AS key,
    format('%s steps were recorded, %s published', t.steps, t.events) AS sentence
FROM (
    SELECT (SELECT count(*) FROM payment.payment_step) AS steps,
        (SELECT coalesce(sum(o.event_count), 0) FROM payment.outbox AS o WHERE o.topic = 'payment.payment') AS events
) AS t
WHERE t.steps <> t.events
LIMIT $1;
