-- name: note_sales
INSERT INTO settlement.fee_base (owner_id, transaction_id, kind, method, amount_minor, payment_id, occurred_at,
    business_date, recorded_at, state)
SELECT u.owner_id, u.transaction_id, u.kind, u.method, u.amount_minor, u.payment_id, u.occurred_at, u.business_date,
    u.recorded_at, 'WAITING'
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::timestamptz[], $8::date[],
    $9::timestamptz[])
    AS u (owner_id, transaction_id, kind, method, amount_minor, payment_id, occurred_at, business_date, recorded_at)
ON CONFLICT (owner_id, transaction_id) DO NOTHING

-- name: undecided
SELECT owner_id, transaction_id, kind, method, amount_minor, payment_id, occurred_at, business_date, state, reason,
    schedule, refunded_minor, fee_id
FROM settlement.fee_base
WHERE state = 'WAITING' AND reason IS NULL
ORDER BY recorded_at, kind DESC, owner_id, transaction_id
LIMIT $1::int

-- name: waiting
SELECT owner_id, transaction_id, kind, method, amount_minor, payment_id, occurred_at, business_date, state, reason,
    schedule, refunded_minor, fee_id
FROM settlement.fee_base
WHERE state = 'WAITING' AND (owner_id, transaction_id) > ($1::text, $2::uuid)
ORDER BY owner_id, transaction_id
LIMIT $3::int

-- name: sales_of_payments
SELECT owner_id, transaction_id, kind, method, amount_minor, payment_id, occurred_at, business_date, state, reason,
    schedule, refunded_minor, fee_id
FROM settlement.fee_base
WHERE payment_id = ANY ($1::text[]) AND kind = 'sale'
ORDER BY occurred_at, transaction_id

-- name: decide
UPDATE settlement.fee_base AS b
SET state = u.state, reason = u.reason, schedule = u.schedule, fee_minor = u.fee_minor, fee_id = u.fee_id
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::uuid[])
    AS u (owner_id, transaction_id, state, reason, schedule, fee_minor, fee_id)
WHERE b.owner_id = u.owner_id AND b.transaction_id = u.transaction_id AND b.state = 'WAITING'
RETURNING b.transaction_id

-- name: count_refunded
UPDATE settlement.fee_base AS b
SET refunded_minor = u.after_minor
FROM (
    SELECT v.owner_id, v.transaction_id, min(v.before_minor) AS before_minor, max(v.after_minor) AS after_minor
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[])
        AS v (owner_id, transaction_id, before_minor, after_minor)
    GROUP BY v.owner_id, v.transaction_id
) AS u
WHERE b.owner_id = u.owner_id AND b.transaction_id = u.transaction_id AND b.refunded_minor = u.before_minor
RETURNING b.transaction_id

-- name: insert_parts
INSERT INTO settlement.fee_part (owner_id, transaction_id, sale_id, method, unit, schedule, base_minor, business_date)
SELECT u.owner_id, u.transaction_id, u.sale_id, u.method, u.unit, u.schedule, u.base_minor, u.business_date
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::date[])
    AS u (owner_id, transaction_id, sale_id, method, unit, schedule, base_minor, business_date)

-- name: insert_fees
INSERT INTO settlement.fee (owner_id, fee_id, kind, unit, origin_id, returns_id, method, base_minor, amount_minor,
    tax_minor, tax_rate_bps, schedule, payment_id, state, business_date, recorded_at)
SELECT u.owner_id, u.fee_id, u.kind, u.unit, u.origin_id, u.returns_id, u.method, u.base_minor, u.amount_minor,
    u.tax_minor, u.tax_rate_bps, u.schedule, u.payment_id, u.state, u.business_date, $16::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::text[], $14::text[], $15::date[])
    AS u (owner_id, fee_id, kind, unit, origin_id, returns_id, method, base_minor, amount_minor, tax_minor,
    tax_rate_bps, schedule, payment_id, state, business_date)

-- name: count_given_back
UPDATE settlement.fee AS f
SET given_back_minor = f.given_back_minor + u.amount_minor
FROM (
    SELECT v.owner_id, v.fee_id, sum(v.amount_minor)::bigint AS amount_minor
    FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS v (owner_id, fee_id, amount_minor)
    GROUP BY v.owner_id, v.fee_id
) AS u
WHERE f.owner_id = u.owner_id AND f.fee_id = u.fee_id

-- name: take_parts
WITH taken AS (
    UPDATE settlement.fee_part
    SET fee_id = $4::uuid
    WHERE unit = $1::text AND business_date <= $2::date AND owner_id = ANY ($3::text[]) AND fee_id IS NULL
    RETURNING owner_id, method, schedule, base_minor
)
SELECT owner_id, method, schedule, sum(base_minor)::bigint AS base_minor
FROM taken
GROUP BY owner_id, method, schedule
ORDER BY owner_id, method, schedule

-- name: assign_parts
UPDATE settlement.fee_part AS p
SET fee_id = u.fee_id
FROM unnest($1::text[], $2::text[], $3::text[], $4::uuid[]) AS u (owner_id, method, schedule, fee_id)
WHERE p.owner_id = u.owner_id AND p.method = u.method AND p.schedule = u.schedule AND p.fee_id = $5::uuid

-- name: owners_with_parts
SELECT owner_id, min(method) AS method
FROM settlement.fee_part
WHERE unit = $1::text AND business_date <= $2::date AND fee_id IS NULL AND owner_id > $3::text
GROUP BY owner_id
ORDER BY owner_id
LIMIT $4::int

-- name: room
SELECT owner_id, fee_id, method, unit, amount_minor, tax_minor, given_back_minor, schedule, payment_id
FROM settlement.fee
WHERE owner_id = ANY ($1::text[]) AND kind = 'fee' AND unit <> 'transaction' AND state <> 'NOTHING'
    AND given_back_minor < amount_minor
ORDER BY owner_id, business_date DESC, fee_id

-- name: due_fees
SELECT f.owner_id, f.fee_id, f.amount_minor, f.payment_id
FROM settlement.fee AS f
WHERE f.state = 'DUE' AND f.kind = 'fee'
ORDER BY f.recorded_at, f.owner_id, f.fee_id
LIMIT $1::int

-- name: due_returns
SELECT f.owner_id, f.fee_id, f.amount_minor, f.attempts, o.payment_id, m.processing_id, m.counterpart_id
FROM settlement.fee AS f
JOIN settlement.fee AS o ON o.owner_id = f.owner_id AND o.fee_id = f.returns_id AND o.state = 'ISSUED'
JOIN settlement.movement AS m ON m.payment_id = o.payment_id
WHERE f.state = 'DUE' AND f.kind = 'fee_refund'
   
ORDER BY f.recorded_at, f.owner_id, f.fee_id
LIMIT $1::int

-- name: ask_for_fees
UPDATE settlement.fee AS f
SET state = 'ASKED', payment_id = u.payment_id
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS u (owner_id, fee_id, payment_id)
WHERE f.owner_id = u.owner_id AND f.fee_id = u.fee_id AND f.state = 'DUE'
RETURNING f.fee_id

-- name: fees_issued
UPDATE settlement.fee AS f
SET state = CASE m.state WHEN 'REFUSED' THEN 'REFUSED' ELSE 'ISSUED' END, code = m.code
FROM unnest($1::text[]) AS u (processing_id)
JOIN settlement.movement AS m ON m.processing_id = u.processing_id
WHERE f.payment_id = m.payment_id AND f.owner_id = m.owner_id AND f.kind = 'fee' AND f.state = 'ASKED'

-- name: end_return
UPDATE settlement.fee AS f
SET state = u.state, code = u.code
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[]) AS u (owner_id, fee_id, state, code)
WHERE f.owner_id = u.owner_id AND f.fee_id = u.fee_id AND f.state = 'ASKED'

-- name: refused_fees
SELECT owner_id, fee_id, kind, attempts, payment_id, schedule
FROM settlement.fee
WHERE state = 'REFUSED' AND (owner_id, fee_id) > ($1::text, $2::uuid)
ORDER BY owner_id, fee_id
LIMIT $3::int

-- name: renew
UPDATE settlement.fee AS f
SET state = 'DUE', code = NULL, attempts = f.attempts + 1, payment_id = u.payment_id
FROM unnest($1::text[], $2::uuid[], $3::text[]) AS u (owner_id, fee_id, payment_id)
WHERE f.owner_id = u.owner_id AND f.fee_id = u.fee_id AND f.state = 'REFUSED'

-- name: untold_fees
SELECT count(*) AS fees
FROM settlement.fee AS f
WHERE f.unit <> 'transaction' AND f.business_date = $1::date AND f.kind = 'fee' AND (
    f.state IN ('DUE', 'ASKED') OR (f.state = 'ISSUED' AND NOT EXISTS (
        SELECT t.transaction_id FROM settlement.transaction_data AS t
        WHERE t.payment_id = f.payment_id AND t.owner_id = f.owner_id
    ))
)

-- name: fees_of_owner
SELECT owner_id, fee_id, kind, unit, origin_id, returns_id, method, base_minor, amount_minor, tax_minor, tax_rate_bps,
    schedule, payment_id, state, code, given_back_minor, business_date, recorded_at
FROM settlement.fee
WHERE owner_id = $1::text AND ($2::text IS NULL OR state = $2::text) AND fee_id > $3::uuid
ORDER BY fee_id
LIMIT $4::int

-- name: waiting_sales
SELECT owner_id, transaction_id, kind, method, amount_minor, payment_id, occurred_at, reason
FROM settlement.fee_base
WHERE state = 'WAITING' AND (owner_id, transaction_id) > ($1::text, $2::uuid)
ORDER BY owner_id, transaction_id
LIMIT $3::int
