-- name: ask
INSERT INTO settlement.movement (payment_id, kind, owner_id, counterpart_id, amount_minor, about, refund_of,
    processing_id, caller, state, asked_at, updated_at)
SELECT u.payment_id, u.kind, u.owner_id, u.counterpart_id, u.amount_minor, u.about, u.refund_of, u.processing_id,
    u.caller, 'ASKED', u.at, u.at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::timestamptz[])
    AS u (payment_id, kind, owner_id, counterpart_id, amount_minor, about, refund_of, processing_id, caller, at)
ON CONFLICT (payment_id) DO NOTHING
RETURNING payment_id

-- name: end_movement
UPDATE settlement.movement AS m
SET state = u.state, code = u.code, returned_minor = coalesce(u.returned_minor, m.returned_minor),
    refund_id = coalesce(u.refund_id, m.refund_id), updated_at = u.at
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
    AS u (payment_id, state, code, returned_minor, refund_id, at)
WHERE m.payment_id = u.payment_id AND m.state <> u.state
    -- What succeeded stays so, whoever says otherwise late: a payout that was paid may come back, and nothing more.
    AND (m.state NOT IN ('SUCCEEDED', 'CAPTURED', 'RETURNED') OR (m.state = 'CAPTURED' AND u.state = 'RETURNED'))
RETURNING m.payment_id

-- name: note_repayments
UPDATE settlement.movement AS m
SET state = u.state, code = u.code, refund_id = coalesce(u.refund_id, m.refund_id), updated_at = $5
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS u (payment_id, state, code, refund_id)
WHERE m.payment_id = u.payment_id AND m.kind = 'claim_repayment' AND m.state <> u.state
    AND m.state NOT IN ('CAPTURED', 'REFUSED', 'CANCELED', 'EXPIRED')
RETURNING m.processing_id

-- name: add_returned
UPDATE settlement.movement AS m SET returned_minor = m.returned_minor + r.amount_minor
FROM (
    SELECT d.refund_of, sum(d.amount_minor)::bigint AS amount_minor
    FROM settlement.movement AS d
    WHERE d.payment_id = ANY ($1::text[]) AND d.refund_of IS NOT NULL
    GROUP BY d.refund_of
) AS r
WHERE m.payment_id = r.refund_of

-- name: movements_in_state
SELECT payment_id, kind, owner_id, counterpart_id, amount_minor, about, refund_of, state, code, refund_id
FROM settlement.movement
WHERE processing_id = $1::text AND state = $2::text AND payment_id > $3::text AND refund_of IS NULL
ORDER BY payment_id
LIMIT $4::int

-- name: load_movements
SELECT payment_id, kind, owner_id, counterpart_id, amount_minor, about, refund_of, state, code, refund_id
FROM settlement.movement
WHERE payment_id = ANY ($1::text[])

-- name: record_transactions
WITH recorded AS (
    INSERT INTO settlement.transaction_data (owner_id, transaction_id, kind, from_id, to_id, amount_minor, method,
        payment_id, origin_id, processing_id, occurred_at, business_date, recorded_at, told_at, state)
    SELECT u.owner_id, u.transaction_id, u.kind, u.from_id, u.to_id, u.amount_minor, u.method, u.payment_id,
        u.origin_id, u.processing_id, u.occurred_at, u.business_date, u.recorded_at, u.told_at, 'RECORDED'
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
        $9::uuid[], $10::text[], $11::timestamptz[], $12::date[], $13::timestamptz[], $14::timestamptz[])
        AS u (owner_id, transaction_id, kind, from_id, to_id, amount_minor, method, payment_id, origin_id,
        processing_id, occurred_at, business_date, recorded_at, told_at)
    ON CONFLICT (owner_id, transaction_id) DO NOTHING
    RETURNING owner_id, transaction_id, business_date
)
INSERT INTO settlement.open_transaction (owner_id, transaction_id, business_date)
SELECT r.owner_id, r.transaction_id, r.business_date
FROM recorded AS r

-- name: fee_origins
SELECT payment_id, origin_id, method, business_date
FROM settlement.fee
WHERE payment_id = ANY ($1::text[]) AND kind = 'fee'

-- name: open_transactions
SELECT t.owner_id, t.transaction_id, t.kind, CASE WHEN t.to_id = t.owner_id THEN t.amount_minor ELSE -t.amount_minor END,
    t.method, t.payment_id, t.processing_id, t.business_date, t.told_at, t.state, t.reason
FROM (
    SELECT o.business_date, o.owner_id, o.transaction_id
    FROM settlement.open_transaction AS o
    WHERE o.business_date <= $1::date
        AND (o.business_date, o.owner_id, o.transaction_id) > ($2::date, $3::text, $4::uuid)
    ORDER BY o.business_date, o.owner_id, o.transaction_id
    LIMIT $5::int
) AS o
JOIN settlement.transaction_data AS t ON t.owner_id = o.owner_id AND t.transaction_id = o.transaction_id
ORDER BY o.business_date, o.owner_id, o.transaction_id

-- name: open_transactions_in_full
SELECT t.owner_id, t.transaction_id, t.kind, t.from_id, t.to_id, t.amount_minor, t.method, t.payment_id, t.origin_id,
    t.processing_id, t.occurred_at, t.business_date, t.recorded_at, t.state, t.reason, t.merchant_id, t.payee_id,
    t.settles_on
FROM (
    SELECT o.business_date, o.owner_id, o.transaction_id
    FROM settlement.open_transaction AS o
    WHERE o.business_date <= $1::date
        AND (o.business_date, o.owner_id, o.transaction_id) > ($2::date, $3::text, $4::uuid)
    ORDER BY o.business_date, o.owner_id, o.transaction_id
    LIMIT $5::int
) AS o
JOIN settlement.transaction_data AS t ON t.owner_id = o.owner_id AND t.transaction_id = o.transaction_id
ORDER BY o.business_date, o.owner_id, o.transaction_id

-- name: held_by_fees
SELECT b.transaction_id, coalesce(b.reason, 'fee_not_decided') AS reason
FROM settlement.fee_base AS b
WHERE b.state = 'WAITING' AND b.owner_id = ANY ($1::text[])
UNION ALL
SELECT f.origin_id, 'fee_refused'
FROM settlement.fee AS f
WHERE f.state = 'REFUSED' AND f.kind = 'fee' AND f.owner_id = ANY ($1::text[])

-- name: unheard_by_fees
SELECT u.transaction_id
FROM unnest($1::text[], $2::uuid[]) AS u (owner_id, transaction_id)
WHERE NOT EXISTS (
    SELECT b.transaction_id FROM settlement.fee_base AS b
    WHERE b.owner_id = u.owner_id AND b.transaction_id = u.transaction_id
)

-- name: settled_of_payments
SELECT payment_id, owner_id, CASE WHEN to_id = owner_id THEN amount_minor ELSE -amount_minor END AS signed_minor
FROM settlement.transaction_data
WHERE payment_id = ANY ($1::text[]) AND settles_on IS NOT NULL

-- name: settle
WITH due AS (
    DELETE FROM settlement.open_transaction AS o
    USING unnest($1::text[], $2::uuid[], $3::date[], $4::text[], $5::text[])
        AS u (owner_id, transaction_id, business_date, merchant_id, payee_id)
    WHERE o.business_date = u.business_date AND o.owner_id = u.owner_id AND o.transaction_id = u.transaction_id
    RETURNING o.owner_id, o.transaction_id, u.merchant_id, u.payee_id
), settled AS (
    UPDATE settlement.transaction_data AS t
    SET state = 'RECONCILED', reason = NULL, merchant_id = u.merchant_id, payee_id = u.payee_id, settles_on = $6::date
    FROM due AS u
    WHERE t.owner_id = u.owner_id AND t.transaction_id = u.transaction_id AND t.settles_on IS NULL
    RETURNING t.payee_id, t.merchant_id, t.owner_id, t.method, t.kind, t.amount_minor, t.to_id = t.owner_id AS gets,
        t.business_date < $6::date AS late
), summed AS (
    SELECT s.payee_id, s.merchant_id, s.owner_id, s.method,
        coalesce(sum(s.amount_minor) FILTER (WHERE s.kind = 'sale'), 0)::bigint AS sales_minor,
        coalesce(sum(s.amount_minor) FILTER (WHERE s.kind = 'refund'), 0)::bigint AS refunds_minor,
        coalesce(sum(s.amount_minor) FILTER (WHERE s.kind = 'fee'), 0)::bigint AS fees_minor,
        coalesce(sum(s.amount_minor) FILTER (WHERE s.kind = 'fee_refund'), 0)::bigint AS fee_refunds_minor,
        coalesce(sum(s.amount_minor) FILTER (WHERE s.kind = 'adjustment' AND s.gets), 0)::bigint AS added_minor,
        coalesce(sum(s.amount_minor) FILTER (WHERE s.kind = 'adjustment' AND NOT s.gets), 0)::bigint AS taken_minor,
        sum(CASE WHEN s.gets THEN s.amount_minor ELSE -s.amount_minor END)::bigint AS net_minor,
        count(*) AS transactions, count(*) FILTER (WHERE s.late) AS late
    FROM settled AS s
    GROUP BY s.payee_id, s.merchant_id, s.owner_id, s.method
), added AS (
    INSERT INTO settlement.daily_summary AS d (payee_id, day, merchant_id, owner_id, method, sales_minor,
        refunds_minor, fees_minor, fee_refunds_minor, added_minor, taken_minor, net_minor, transactions, late)
    SELECT s.payee_id, $6::date, s.merchant_id, s.owner_id, s.method, s.sales_minor, s.refunds_minor, s.fees_minor,
        s.fee_refunds_minor, s.added_minor, s.taken_minor, s.net_minor, s.transactions, s.late
    FROM summed AS s
    ORDER BY s.payee_id, s.merchant_id, s.owner_id, s.method
    ON CONFLICT (payee_id, day, merchant_id, owner_id, method) DO UPDATE SET
        sales_minor = d.sales_minor + excluded.sales_minor,
        refunds_minor = d.refunds_minor + excluded.refunds_minor,
        fees_minor = d.fees_minor + excluded.fees_minor,
        fee_refunds_minor = d.fee_refunds_minor + excluded.fee_refunds_minor,
        added_minor = d.added_minor + excluded.added_minor,
        taken_minor = d.taken_minor + excluded.taken_minor,
        net_minor = d.net_minor + excluded.net_minor,
        transactions = d.transactions + excluded.transactions,
        late = d.late + excluded.late
    RETURNING d.payee_id
)
SELECT coalesce(sum(s.transactions), 0)::bigint AS transactions, coalesce(sum(s.net_minor), 0)::bigint AS net_minor,
    (SELECT count(*) FROM added) AS summaries
FROM summed AS s

-- name: hold
UPDATE settlement.transaction_data AS t
SET state = 'HELD', reason = u.reason
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS u (owner_id, transaction_id, reason)
WHERE t.owner_id = u.owner_id AND t.transaction_id = u.transaction_id AND t.settles_on IS NULL
    AND t.reason IS DISTINCT FROM u.reason

-- name: transactions_of_owner
SELECT owner_id, transaction_id, kind, from_id, to_id, amount_minor, method, payment_id, origin_id, processing_id,
    occurred_at, business_date, recorded_at, state, reason, merchant_id, payee_id, settles_on
FROM settlement.transaction_data
WHERE owner_id = $1::text AND ($2::date IS NULL OR business_date >= $2::date)
    AND ($3::date IS NULL OR business_date <= $3::date) AND ($4::text IS NULL OR state = $4::text)
    AND transaction_id > $5::uuid
ORDER BY transaction_id
LIMIT $6::int

-- name: transactions_of_payment
SELECT owner_id, transaction_id, kind, from_id, to_id, amount_minor, method, payment_id, origin_id, processing_id,
    occurred_at, business_date, recorded_at, state, reason, merchant_id, payee_id, settles_on
FROM settlement.transaction_data
WHERE payment_id = $1::text
ORDER BY occurred_at, owner_id, transaction_id
LIMIT 1000

-- name: move_feed
UPDATE settlement.standing SET seen_at = greatest(seen_at, $2::timestamptz) WHERE name = $1::text

-- name: read_feeds
SELECT name, seen_at FROM settlement.standing WHERE name = ANY ($1::text[])

-- name: parked_before
SELECT count(*) AS events
FROM settlement.parked_event
WHERE subscription = ANY ($1::text[]) AND resolved_at IS NULL AND coalesce(recorded_at, parked_at) < $2::timestamptz

-- name: closed_through
SELECT closed_through FROM settlement.standing WHERE name = $1::text

-- name: share_closed_through
SELECT closed_through FROM settlement.standing WHERE name = $1::text FOR SHARE

-- name: lock_closed_through
SELECT closed_through FROM settlement.standing WHERE name = $1::text FOR UPDATE

-- name: earlier_day_open
SELECT min(e.day) AS day
FROM (
    SELECT min(o.business_date) AS day
    FROM settlement.open_transaction AS o
    WHERE o.business_date > $1::date AND o.business_date < $2::date
    UNION ALL
    SELECT min(d.day)
    FROM settlement.daily_summary AS d
    WHERE d.cycle_id IS NULL AND d.day > $1::date AND d.day < $2::date
) AS e

-- name: close_through
UPDATE settlement.standing SET closed_through = $2::date
WHERE name = $1::text AND (closed_through IS NULL OR closed_through < $2::date)
RETURNING name

-- name: close_day
INSERT INTO settlement.settlement_day (day, closed_at, transactions, net_minor, left_open)
SELECT $1::date, $2::timestamptz, coalesce(sum(d.transactions), 0)::bigint, coalesce(sum(d.net_minor), 0)::bigint,
    (SELECT count(*) FROM settlement.open_transaction AS o WHERE o.business_date <= $1::date)
FROM settlement.daily_summary AS d
WHERE d.day = $1::date AND d.cycle_id IS NULL
RETURNING day, closed_at, transactions, net_minor, left_open

-- name: closed_days
SELECT day, closed_at, transactions, net_minor, left_open
FROM settlement.settlement_day
WHERE day BETWEEN $1::date AND $2::date
ORDER BY day

-- name: daily_summaries
SELECT payee_id, day, merchant_id, owner_id, method, sales_minor, refunds_minor, fees_minor, fee_refunds_minor,
    added_minor, taken_minor, net_minor, transactions, late, cycle_id
FROM settlement.daily_summary
WHERE payee_id = $1::text AND day BETWEEN $2::date AND $3::date
    AND (day, merchant_id, owner_id, method) > ($4::date, $5::text, $6::text, $7::text)
ORDER BY day, merchant_id, owner_id, method
LIMIT $8::int
