-- name: day_is_closed
SELECT name
FROM settlement.standing
WHERE name = 'days' AND closed_through >= $1

-- name: payees_with_money
SELECT w.payee_id
FROM (
    (SELECT DISTINCT d.payee_id
     FROM settlement.daily_summary AS d
     WHERE d.cycle_id IS NULL AND d.day <= $1 AND d.payee_id > $2
     ORDER BY d.payee_id
     LIMIT $3)
    UNION
    (SELECT DISTINCT p.payee_id
     FROM settlement.payout AS p
     WHERE p.state IN ('FAILED', 'RETURNED', 'CARRIED_OVER') AND p.taken_by IS NULL AND p.payee_id > $2
     ORDER BY p.payee_id
     LIMIT $3)
) AS w
ORDER BY w.payee_id
LIMIT $3

-- name: open_sums
SELECT payee_id, owner_id, min(day) AS first_day, sum(sales_minor)::bigint AS sales_minor,
    sum(refunds_minor)::bigint AS refunds_minor, sum(fees_minor)::bigint AS fees_minor,
    sum(fee_refunds_minor)::bigint AS fee_refunds_minor, sum(added_minor)::bigint AS added_minor,
    sum(taken_minor)::bigint AS taken_minor, sum(net_minor)::bigint AS net_minor,
    sum(transactions)::bigint AS transactions
FROM settlement.daily_summary
WHERE payee_id = ANY ($1::text[]) AND day <= $2 AND cycle_id IS NULL
GROUP BY payee_id, owner_id
ORDER BY payee_id, owner_id

-- name: unpaid_payouts
SELECT p.payee_id, p.payout_id, p.state, p.payable_minor, p.carried_from, p.version
FROM settlement.payout AS p
LEFT JOIN settlement.movement AS m ON m.payment_id = p.fee_payment_id
WHERE p.payee_id = ANY ($1::text[]) AND p.taken_by IS NULL AND p.state IN ('FAILED', 'RETURNED', 'CARRIED_OVER')
    AND (m.payment_id IS NULL OR m.state = 'REFUSED' OR m.returned_minor = m.amount_minor)
ORDER BY p.payee_id, p.payout_id

-- name: last_cycles
SELECT payee_id, max(last_day) AS last_day
FROM settlement.sales_summary
WHERE payee_id = ANY ($1::text[])
GROUP BY payee_id

-- name: insert_sales_summaries
INSERT INTO settlement.sales_summary (payee_id, cycle_id, first_day, last_day, sales_minor, refunds_minor, fees_minor,
    fee_refunds_minor, added_minor, taken_minor, net_minor, cleared_minor, shortfall_minor, transactions, terms, made_at)
SELECT u.payee_id, u.cycle_id, u.first_day, u.last_day, u.sales_minor, u.refunds_minor, u.fees_minor,
    u.fee_refunds_minor, u.added_minor, u.taken_minor, u.net_minor, u.cleared_minor, u.shortfall_minor, u.transactions,
    u.terms, u.made_at
FROM unnest($1::text[], $2::uuid[], $3::date[], $4::date[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[],
    $16::timestamptz[])
    AS u (payee_id, cycle_id, first_day, last_day, sales_minor, refunds_minor, fees_minor, fee_refunds_minor,
    added_minor, taken_minor, net_minor, cleared_minor, shortfall_minor, transactions, terms, made_at)
ON CONFLICT DO NOTHING
RETURNING payee_id

-- name: put_into_cycles
UPDATE settlement.daily_summary AS d
SET cycle_id = u.cycle_id
FROM unnest($1::text[], $2::uuid[]) AS u (payee_id, cycle_id)
WHERE d.payee_id = u.payee_id AND d.day <= $3 AND d.cycle_id IS NULL

-- name: insert_clearings
INSERT INTO settlement.clearing (payee_id, cycle_id, owner_id, kind, amount_minor, payment_id, part, state)
SELECT u.payee_id, u.cycle_id, u.owner_id, u.kind, u.amount_minor, u.payment_id, u.part, 'DUE'
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::int[])
    AS u (payee_id, cycle_id, owner_id, kind, amount_minor, payment_id, part)

-- name: insert_payouts
INSERT INTO settlement.payout (payee_id, payout_id, cycle_id, state, cleared_minor, carried_minor, failed_minor,
    offset_minor, payable_minor, transfer_fee_minor, amount_minor, claim_minor, pay_on, instruct_on, carried_from,
    part, version, made_at, updated_at)
SELECT u.payee_id, u.payout_id, u.cycle_id, 'MADE', u.cleared_minor, u.carried_minor, u.failed_minor, 0,
    u.cleared_minor + u.carried_minor + u.failed_minor, 0, 0, 0, u.pay_on, u.instruct_on, u.carried_from, u.part, 0,
    u.made_at, u.made_at
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::bigint[], $6::bigint[], $7::date[], $8::date[],
    $9::date[], $10::int[], $11::timestamptz[])
    AS u (payee_id, payout_id, cycle_id, cleared_minor, carried_minor, failed_minor, pay_on, instruct_on, carried_from,
    part, made_at)

-- name: take_over_payouts
UPDATE settlement.payout AS p
SET taken_by = u.taken_by, updated_at = $5
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::uuid[]) AS u (payee_id, payout_id, version, taken_by)
WHERE p.payee_id = u.payee_id AND p.payout_id = u.payout_id AND p.version = u.version AND p.taken_by IS NULL
RETURNING p.payout_id

-- name: clearings_of
SELECT c.payee_id, c.cycle_id, c.owner_id, c.kind, c.amount_minor, c.payment_id, c.state, c.code, c.part
FROM settlement.clearing AS c
JOIN unnest($1::text[], $2::uuid[]) AS u (payee_id, cycle_id) ON c.payee_id = u.payee_id AND c.cycle_id = u.cycle_id
ORDER BY c.payee_id, c.cycle_id, c.owner_id, c.part

-- name: renew_clearings
UPDATE settlement.clearing AS c
SET state = 'DUE', code = NULL, payment_id = u.payment_id
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::int[], $5::text[])
    AS u (payee_id, cycle_id, owner_id, part, payment_id)
WHERE c.payee_id = u.payee_id AND c.cycle_id = u.cycle_id AND c.owner_id = u.owner_id AND c.part = u.part
    AND c.state = 'REFUSED'

-- name: settle_clearings
UPDATE settlement.clearing AS c
SET state = u.state, code = u.code
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[])
    AS u (payee_id, cycle_id, owner_id, payment_id, state, code)
WHERE c.payee_id = u.payee_id AND c.cycle_id = u.cycle_id AND c.owner_id = u.owner_id AND c.payment_id = u.payment_id
    AND c.state = 'DUE'

-- name: summaries_of_payee
SELECT payee_id, cycle_id, first_day, last_day, sales_minor, refunds_minor, fees_minor, fee_refunds_minor, added_minor,
    taken_minor, net_minor, cleared_minor, shortfall_minor, transactions, terms, made_at
FROM settlement.sales_summary
WHERE payee_id = $1 AND last_day < $2
ORDER BY last_day DESC
LIMIT $3

-- name: summary_of_cycle
SELECT payee_id, cycle_id, first_day, last_day, sales_minor, refunds_minor, fees_minor, fee_refunds_minor, added_minor,
    taken_minor, net_minor, cleared_minor, shortfall_minor, transactions, terms, made_at
FROM settlement.sales_summary
WHERE payee_id = $1 AND cycle_id = $2

-- name: lines_of_cycle
SELECT day, merchant_id, method, sum(sales_minor)::bigint AS sales_minor, sum(refunds_minor)::bigint AS refunds_minor,
    sum(fees_minor)::bigint AS fees_minor, sum(fee_refunds_minor)::bigint AS fee_refunds_minor,
    sum(added_minor)::bigint AS added_minor, sum(taken_minor)::bigint AS taken_minor,
    sum(net_minor)::bigint AS net_minor, sum(transactions)::bigint AS transactions, sum(late)::bigint AS late
FROM settlement.daily_summary
WHERE payee_id = $1 AND cycle_id = $2
GROUP BY day, merchant_id, method
ORDER BY day, merchant_id, method

-- name: owners_of_cycle
SELECT DISTINCT owner_id
FROM settlement.daily_summary
WHERE payee_id = $1 AND cycle_id = $2

-- name: fees_by_rate
SELECT t.kind, f.tax_rate_bps, sum(t.amount_minor)::bigint AS amount_minor, min(t.settles_on) AS settled_from,
    max(t.settles_on) AS settled_until, min(f.business_date) AS charged_from, max(f.business_date) AS charged_until
FROM settlement.transaction_data AS t
JOIN (
    SELECT owner_id, payment_id, max(tax_rate_bps) AS tax_rate_bps, min(business_date) AS business_date
    FROM settlement.fee
    WHERE owner_id = ANY ($1::text[])
    GROUP BY owner_id, payment_id
) AS f ON f.owner_id = t.owner_id AND f.payment_id = t.payment_id
WHERE t.owner_id = ANY ($1::text[]) AND t.payee_id = $2 AND t.kind IN ('fee', 'fee_refund')
    AND t.settles_on BETWEEN $3 AND $4
GROUP BY t.kind, f.tax_rate_bps
ORDER BY t.kind, f.tax_rate_bps DESC
