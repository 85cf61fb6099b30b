-- name: settled_without_fee
SELECT 'transaction_data' AS relation, concat_ws('/', t.owner_id, encode(uuid_send(t.transaction_id), 'hex')) AS key,
    format('it settled on %s, but its fee %s', t.settles_on,
        CASE WHEN b.state IS NULL THEN 'was never heard of' ELSE 'is not worked out' END) AS sentence
FROM settlement.transaction_data AS t
LEFT JOIN settlement.fee_base AS b ON b.owner_id = t.owner_id AND b.transaction_id = t.transaction_id
WHERE t.kind IN ('sale', 'refund') AND t.state = 'RECONCILED' AND b.state IS DISTINCT FROM 'DECIDED'
LIMIT $1;

-- name: broken_fee_bases
SELECT 'fee_base' AS relation, concat_ws('/', b.owner_id, encode(uuid_send(b.transaction_id), 'hex')) AS key,
    CASE WHEN t.transaction_id IS NULL THEN 'no transaction tells of it'
        ELSE format('it is a %s of %s, told was a %s of %s', b.kind, b.amount_minor, t.kind, t.amount_minor) END AS sentence
FROM settlement.fee_base AS b
LEFT JOIN settlement.transaction_data AS t ON t.owner_id = b.owner_id AND t.transaction_id = b.transaction_id
CROSS JOIN (
    SELECT (SELECT position FROM settlement.subscription_cursor WHERE subscription = 'settlement.payment')
        >= (SELECT position FROM settlement.subscription_cursor WHERE subscription = 'settlement.fees') AS ahead
) AS c
WHERE CASE WHEN t.transaction_id IS NULL THEN c.ahead
    ELSE (b.kind, b.amount_minor, b.payment_id, b.business_date) <> (t.kind, t.amount_minor, t.payment_id, t.business_date) END
LIMIT $1;

-- name: refunds_without_sale
-- What refunds took of a payment's sales is what was refunded.
SELECT 'fee_base' AS relation, p.payment_id AS key,
    format('%s was refunded, %s of its sales says so', p.refunds_minor, p.refunded_minor) AS sentence
FROM (
    SELECT payment_id, coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund'), 0) AS refunds_minor,
        coalesce(sum(refunded_minor) FILTER (WHERE kind = 'sale'), 0) AS refunded_minor
    FROM settlement.fee_base GROUP BY payment_id HAVING bool_and(state = 'DECIDED')
) AS p
WHERE p.refunds_minor <> p.refunded_minor
LIMIT $1;

-- name: returns_unlike_their_fee
SELECT 'fee' AS relation, concat_ws('/', f.owner_id, encode(uuid_send(f.fee_id), 'hex')) AS key,
    format('%s of it is said to have gone back, its returns come to %s', f.given_back_minor, coalesce(r.amount_minor, 0))
    AS sentence
FROM settlement.fee AS f
LEFT JOIN (
    SELECT owner_id, returns_id, sum(amount_minor) AS amount_minor
    FROM settlement.fee WHERE kind = 'fee_refund' GROUP BY owner_id, returns_id
) AS r ON r.owner_id = f.owner_id AND r.returns_id = f.fee_id
WHERE f.kind = 'fee' AND f.given_back_minor <> coalesce(r.amount_minor, 0)
LIMIT $1;

-- name: sales_with_fees
SELECT b.owner_id, b.transaction_id, b.amount_minor, b.refunded_minor, b.schedule, b.fee_minor, f.fee_id,
    f.base_minor AS fee_base_minor, f.amount_minor AS charged_minor, f.tax_minor, f.tax_rate_bps,
    f.schedule AS fee_schedule, f.given_back_minor, p.base_minor AS part_minor
FROM settlement.fee_base AS b
LEFT JOIN settlement.fee AS f ON f.owner_id = b.owner_id AND f.fee_id = b.fee_id AND f.kind = 'fee'
LEFT JOIN settlement.fee_part AS p ON p.owner_id = b.owner_id AND p.transaction_id = b.transaction_id
    AND p.sale_id = b.transaction_id
WHERE b.kind = 'sale' AND b.state = 'DECIDED';

-- name: fees_on_totals
SELECT f.owner_id, f.fee_id, f.base_minor, f.amount_minor AS charged_minor, f.tax_minor, f.tax_rate_bps,
    f.schedule AS fee_schedule, coalesce(p.base_minor, 0)::bigint AS parts_minor
FROM settlement.fee AS f
LEFT JOIN (
    SELECT owner_id, fee_id, sum(base_minor) AS base_minor
    FROM settlement.fee_part WHERE fee_id IS NOT NULL GROUP BY owner_id, fee_id
) AS p ON p.owner_id = f.owner_id AND p.fee_id = f.fee_id
WHERE f.kind = 'fee' AND f.unit <> 'transaction';
