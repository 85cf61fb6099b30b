-- name: strange_standing
SELECT 'standing' AS relation, s.name AS key,
    format('it is closed through %s, the last day that is closed is %s', s.closed_through, d.day) AS sentence
FROM settlement.standing AS s CROSS JOIN (SELECT max(day) AS day FROM settlement.settlement_day) AS d
WHERE s.name = 'days' AND s.closed_through IS DISTINCT FROM d.day
LIMIT $1;

-- name: broken_days
SELECT 'settlement_day' AS relation, d.day::text AS key,
    format('it has %s transactions of %s in all, the transactions make it %s of %s', d.transactions, d.net_minor,
        coalesce(t.transactions, 0), coalesce(t.net_minor, 0)) AS sentence
FROM settlement.settlement_day AS d
LEFT JOIN (
    SELECT settles_on, count(*) AS transactions,
        sum(CASE WHEN to_id = owner_id THEN amount_minor ELSE -amount_minor END) AS net_minor
    FROM settlement.transaction_data WHERE settles_on IS NOT NULL GROUP BY settles_on
) AS t ON t.settles_on = d.day
WHERE d.transactions <> coalesce(t.transactions, 0) OR d.net_minor <> coalesce(t.net_minor, 0)
LIMIT $1;

-- name: transactions_before_their_day
SELECT 'transaction_data' AS relation, encode(uuid_send(t.transaction_id), 'hex') AS key,
    CASE WHEN t.settles_on < t.business_date THEN format('it is of %s, and settles on %s', t.business_date, t.settles_on)
        WHEN (t.occurred_at AT TIME ZONE 'Asia/Tokyo')::date <> t.business_date AND t.kind IN ('sale', 'refund', 'adjustment')
            THEN format('it occurred on another day than %s', t.business_date)
        ELSE format('a %s is %s the merchant', t.kind, CASE WHEN t.to_id = t.owner_id THEN 'to' ELSE 'from' END)
        END AS sentence
FROM settlement.transaction_data AS t
WHERE t.settles_on < t.business_date
    OR (t.kind IN ('sale', 'refund', 'adjustment') AND (t.occurred_at AT TIME ZONE 'Asia/Tokyo')::date <> t.business_date)
    OR (t.kind IN ('sale', 'fee_refund') AND t.to_id <> t.owner_id)
    OR (t.kind IN ('refund', 'fee') AND t.from_id <> t.owner_id)
LIMIT $1;

-- name: open_or_not
-- What has not settled is on the list that a day's run reads, and nothing else is.
SELECT 'open_transaction' AS relation,
    concat_ws('/', coalesce(t.owner_id, o.owner_id), encode(uuid_send(coalesce(t.transaction_id, o.transaction_id)), 'hex'))
        AS key,
    CASE WHEN o.transaction_id IS NULL THEN 'it is missing, though its transaction has not settled'
        WHEN t.transaction_id IS NULL THEN 'no transaction is open under its id'
        ELSE format('it is of %s, its transaction of %s', o.business_date, t.business_date) END AS sentence
FROM (
    SELECT owner_id, transaction_id, business_date FROM settlement.transaction_data WHERE settles_on IS NULL
) AS t
FULL JOIN settlement.open_transaction AS o ON o.owner_id = t.owner_id AND o.transaction_id = t.transaction_id
WHERE o.transaction_id IS NULL OR t.transaction_id IS NULL OR o.business_date <> t.business_date
LIMIT $1;

-- name: broken_summaries
SELECT 'daily_summary' AS relation,
    concat_ws('/', coalesce(s.payee_id, t.payee_id), coalesce(s.day, t.day)::text, coalesce(s.merchant_id, t.merchant_id),
        coalesce(s.owner_id, t.owner_id), coalesce(s.method, t.method)) AS key,
    CASE WHEN s.payee_id IS NULL THEN 'it is missing, though transactions settled on its day'
        WHEN t.payee_id IS NULL THEN 'no transaction tells of it'
        ELSE format('it is %s, its transactions make it %s',
            concat_ws(' ', s.sales_minor, s.refunds_minor, s.fees_minor, s.fee_refunds_minor, s.added_minor, s.taken_minor,
                s.transactions, s.late),
            concat_ws(' ', t.sales_minor, t.refunds_minor, t.fees_minor, t.fee_refunds_minor, t.added_minor, t.taken_minor,
                t.transactions, t.late)) END AS sentence
FROM (
    SELECT payee_id, day, merchant_id, owner_id, method, sales_minor, refunds_minor, fees_minor, fee_refunds_minor,
        added_minor, taken_minor, transactions, late
    FROM settlement.daily_summary WHERE day IN (SELECT day FROM settlement.settlement_day)
) AS s
FULL JOIN (
    SELECT payee_id, settles_on AS day, merchant_id, owner_id, method,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'sale'), 0) AS sales_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'refund'), 0) AS refunds_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'fee'), 0) AS fees_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'fee_refund'), 0) AS fee_refunds_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'adjustment' AND to_id = owner_id), 0) AS added_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'adjustment' AND from_id = owner_id), 0) AS taken_minor,
        count(*) AS transactions, count(*) FILTER (WHERE business_date < settles_on) AS late
    FROM settlement.transaction_data
    WHERE settles_on IN (SELECT day FROM settlement.settlement_day)
    GROUP BY payee_id, settles_on, merchant_id, owner_id, method
) AS t ON t.payee_id = s.payee_id AND t.day = s.day AND t.merchant_id = s.merchant_id AND t.owner_id = s.owner_id
    AND t.method = s.method
WHERE s.payee_id IS NULL OR t.payee_id IS NULL OR s.sales_minor <> t.sales_minor OR s.refunds_minor <> t.refunds_minor
    OR s.fees_minor <> t.fees_minor OR s.fee_refunds_minor <> t.fee_refunds_minor OR s.added_minor <> t.added_minor
    OR s.taken_minor <> t.taken_minor OR s.transactions <> t.transactions OR s.late <> t.late
LIMIT $1;

-- name: broken_cycles
SELECT 'sales_summary' AS relation, concat_ws('/', coalesce(s.payee_id, d.payee_id), coalesce(s.last_day::text, '?')) AS key,
    CASE WHEN s.cycle_id IS NULL THEN 'daily summaries are in a cycle that does not exist'
        WHEN d.first_day < s.first_day OR d.last_day > s.last_day
            THEN format('it is from %s to %s, and has summaries of %s to %s', s.first_day, s.last_day, d.first_day, d.last_day)
        ELSE format('it is %s, its daily summaries make it %s',
            concat_ws(' ', s.sales_minor, s.refunds_minor, s.fees_minor, s.fee_refunds_minor, s.added_minor, s.taken_minor,
                s.net_minor, s.cleared_minor, s.shortfall_minor, s.transactions),
            concat_ws(' ', coalesce(d.sales_minor, 0), coalesce(d.refunds_minor, 0), coalesce(d.fees_minor, 0),
                coalesce(d.fee_refunds_minor, 0), coalesce(d.added_minor, 0), coalesce(d.taken_minor, 0),
                coalesce(d.net_minor, 0), coalesce(d.cleared_minor, 0), coalesce(d.shortfall_minor, 0),
                coalesce(d.transactions, 0))) END AS sentence
FROM settlement.sales_summary AS s
FULL JOIN (
    SELECT o.payee_id, o.cycle_id, min(o.first_day) AS first_day, max(o.last_day) AS last_day,
        sum(o.sales_minor) AS sales_minor, sum(o.refunds_minor) AS refunds_minor, sum(o.fees_minor) AS fees_minor,
        sum(o.fee_refunds_minor) AS fee_refunds_minor, sum(o.added_minor) AS added_minor, sum(o.taken_minor) AS taken_minor,
        sum(o.net_minor) AS net_minor, sum(greatest(o.net_minor, 0)) AS cleared_minor,
        sum(greatest(-o.net_minor, 0)) AS shortfall_minor, sum(o.transactions) AS transactions
    FROM (
        SELECT payee_id, cycle_id, owner_id, min(day) AS first_day, max(day) AS last_day, sum(sales_minor) AS sales_minor,
            sum(refunds_minor) AS refunds_minor, sum(fees_minor) AS fees_minor, sum(fee_refunds_minor) AS fee_refunds_minor,
            sum(added_minor) AS added_minor, sum(taken_minor) AS taken_minor, sum(net_minor) AS net_minor,
            sum(transactions) AS transactions
        FROM settlement.daily_summary WHERE cycle_id IS NOT NULL GROUP BY payee_id, cycle_id, owner_id
    ) AS o
    GROUP BY o.payee_id, o.cycle_id
) AS d ON d.payee_id = s.payee_id AND d.cycle_id = s.cycle_id
WHERE s.cycle_id IS NULL OR d.first_day < s.first_day OR d.last_day > s.last_day
    OR s.sales_minor <> coalesce(d.sales_minor, 0) OR s.refunds_minor <> coalesce(d.refunds_minor, 0)
    OR s.fees_minor <> coalesce(d.fees_minor, 0) OR s.fee_refunds_minor <> coalesce(d.fee_refunds_minor, 0)
    OR s.added_minor <> coalesce(d.added_minor, 0) OR s.taken_minor <> coalesce(d.taken_minor, 0)
    OR s.net_minor <> coalesce(d.net_minor, 0) OR s.cleared_minor <> coalesce(d.cleared_minor, 0)
    OR s.shortfall_minor <> coalesce(d.shortfall_minor, 0) OR s.transactions <> coalesce(d.transactions, 0)
LIMIT $1;

-- name: broken_clearings
SELECT 'clearing' AS relation, concat_ws('/', coalesce(c.payee_id, o.payee_id),
        encode(uuid_send(coalesce(c.cycle_id, o.cycle_id)), 'hex'), coalesce(c.owner_id, o.owner_id)) AS key,
    CASE WHEN c.cycle_id IS NULL THEN format('it is missing, though its owner has %s in the cycle', o.net_minor)
        ELSE format('it comes to %s, the summaries to %s', c.net_minor, coalesce(o.net_minor, 0)) END AS sentence
FROM (
    SELECT payee_id, cycle_id, owner_id,
        sum(CASE kind WHEN 'clearing' THEN amount_minor ELSE -amount_minor END) AS net_minor
    FROM settlement.clearing GROUP BY payee_id, cycle_id, owner_id
) AS c
FULL JOIN (
    SELECT payee_id, cycle_id, owner_id, sum(net_minor) AS net_minor
    FROM settlement.daily_summary WHERE cycle_id IS NOT NULL GROUP BY payee_id, cycle_id, owner_id HAVING sum(net_minor) <> 0
) AS o ON o.payee_id = c.payee_id AND o.cycle_id = c.cycle_id AND o.owner_id = c.owner_id
WHERE c.cycle_id IS NULL OR c.net_minor IS DISTINCT FROM o.net_minor
LIMIT $1;

-- name: broken_payouts
SELECT 'payout' AS relation, concat_ws('/', p.payee_id, encode(uuid_send(p.payout_id), 'hex')) AS key,
    CASE WHEN s.cycle_id IS NULL THEN 'there is no such cycle'
        WHEN w.cleared <> s.cleared_minor
            THEN format('it has %s of its cycle, which cleared %s', w.cleared, s.cleared_minor)
        WHEN w.carried <> coalesce(t.carried, 0) OR w.failed <> coalesce(t.failed, 0)
            THEN format('it took over %s and %s, earlier payouts left %s and %s', w.carried, w.failed,
                coalesce(t.carried, 0), coalesce(t.failed, 0))
        WHEN p.taken_by IS NOT NULL AND p.state NOT IN ('CARRIED_OVER', 'FAILED', 'RETURNED')
            THEN format('it is %s, and a later one took it over', p.state)
        WHEN p.carried_from > s.last_day THEN 'its oldest money is younger than its cycle'
        ELSE format('it is %s with %s to be transferred', p.state, p.amount_minor) END AS sentence
FROM settlement.payout AS p
LEFT JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
LEFT JOIN (
    -- A cycle that comes to more than one transfer moves has several payouts, numbered from 0.
    SELECT payee_id, cycle_id, sum(cleared_minor) AS cleared, sum(carried_minor) AS carried, sum(failed_minor) AS failed,
        count(*) AS payouts, max(part) AS last_part
    FROM settlement.payout GROUP BY payee_id, cycle_id
) AS w ON w.payee_id = p.payee_id AND w.cycle_id = p.cycle_id
LEFT JOIN (
    SELECT y.payee_id, y.cycle_id, sum(o.payable_minor) FILTER (WHERE o.state = 'CARRIED_OVER') AS carried,
        sum(o.payable_minor) FILTER (WHERE o.state IN ('FAILED', 'RETURNED')) AS failed
    FROM settlement.payout AS o
    JOIN settlement.payout AS y ON y.payee_id = o.payee_id AND y.payout_id = o.taken_by
    GROUP BY y.payee_id, y.cycle_id
) AS t ON t.payee_id = p.payee_id AND t.cycle_id = p.cycle_id
WHERE s.cycle_id IS NULL OR w.cleared <> s.cleared_minor OR w.carried <> coalesce(t.carried, 0)
    OR w.failed <> coalesce(t.failed, 0) OR w.last_part <> w.payouts - 1 OR p.carried_from > s.last_day
    OR (p.taken_by IS NOT NULL AND p.state NOT IN ('CARRIED_OVER', 'FAILED', 'RETURNED'))
    OR (p.state IN ('CLEARED', 'INSTRUCTED', 'PAID', 'FAILED', 'RETURNED') AND p.amount_minor = 0)
    OR (p.state = 'NOTHING' AND p.payable_minor <> 0)
LIMIT $1;

-- name: cycles_without_payout
SELECT 'sales_summary' AS relation, concat_ws('/', s.payee_id, s.last_day::text) AS key, 'it has no payout' AS sentence
FROM settlement.sales_summary AS s
LEFT JOIN settlement.payout AS p ON p.payee_id = s.payee_id AND p.cycle_id = s.cycle_id
WHERE p.payout_id IS NULL
LIMIT $1;

-- name: broken_payout_steps
SELECT 'payout_step' AS relation, concat_ws('/', coalesce(p.payee_id, s.payee_id),
        encode(uuid_send(coalesce(p.payout_id, s.payout_id)), 'hex')) AS key,
    CASE WHEN p.payout_id IS NULL THEN 'there is no such payout'
        WHEN s.payout_id IS NULL THEN 'it has no steps'
        WHEN s.steps <> s.last - s.first + 1 THEN 'its steps are not numbered one after the other'
        ELSE format('it is %s since %s, its last step is %s', p.state, p.reason, s.state) END AS sentence
FROM settlement.payout AS p
FULL JOIN (
    SELECT payee_id, payout_id, count(*) AS steps, min(sequence) AS first, max(sequence) AS last,
        (array_agg(state ORDER BY sequence DESC))[1] AS state, (array_agg(reason ORDER BY sequence DESC))[1] AS reason
    FROM settlement.payout_step GROUP BY payee_id, payout_id
) AS s ON s.payee_id = p.payee_id AND s.payout_id = p.payout_id
WHERE p.payout_id IS NULL OR s.payout_id IS NULL OR s.steps <> s.last - s.first + 1 OR s.state <> p.state
    OR s.reason IS DISTINCT FROM p.reason
LIMIT $1;

-- name: strange_payout_steps
SELECT 'payout_step' AS relation, concat_ws('/', s.payee_id, encode(uuid_send(s.payout_id), 'hex'), s.sequence::text) AS key,
    format('it leads from %s to %s', coalesce(s.was, 'nothing'), s.state) AS sentence
FROM (
    SELECT payee_id, payout_id, sequence, state,
        lag(state) OVER (PARTITION BY payee_id, payout_id ORDER BY sequence) AS was
    FROM settlement.payout_step
) AS s
WHERE (s.state = 'PAID' AND (s.was IS NULL OR s.was NOT IN ('INSTRUCTED', 'FAILED')))
    OR (s.was = 'PAID' AND s.state <> 'RETURNED') OR s.was IN ('RETURNED', 'NOTHING')
    OR (s.was = 'FAILED' AND s.state NOT IN ('PAID', 'FAILED'))
LIMIT $1;

-- name: payouts_against_payments
SELECT 'payout' AS relation, concat_ws('/', p.payee_id, encode(uuid_send(p.payout_id), 'hex')) AS key,
    CASE WHEN y.payment_id IS NULL THEN format('it is %s, but there is no payment of it', p.state)
        WHEN y.amount_minor <> p.amount_minor OR y.payer_id <> p.payee_id
            THEN format('it pays %s to %s, its payment %s to %s', p.amount_minor, p.payee_id, y.amount_minor, y.payer_id)
        ELSE format('it is %s, its payment %s', p.state, y.state) END AS sentence
FROM settlement.payout AS p
LEFT JOIN payment.payment AS y ON encode(uuid_send(y.payment_id), 'hex') = substr(p.payment_id, 5) AND y.kind = 'payout'
WHERE (p.state IN ('PAID', 'RETURNED') OR (p.state IN ('INSTRUCTED', 'FAILED') AND y.payment_id IS NOT NULL))
    AND (y.payment_id IS NULL OR y.amount_minor <> p.amount_minor OR y.payer_id <> p.payee_id
        OR (p.state = 'PAID' AND y.state NOT IN ('CAPTURED', 'RETURNED'))
        OR (p.state = 'RETURNED' AND y.state <> 'RETURNED')
        OR (p.state = 'FAILED' AND y.state NOT IN ('REFUSED', 'CANCELED', 'RETURNED')))
LIMIT $1;

-- name: broken_statements
SELECT 'issued_statement' AS relation,
    concat_ws('/', s.payee_id, encode(uuid_send(s.cycle_id), 'hex'), s.version::text) AS key,
    CASE WHEN s.sha256 <> s.hashed THEN 'its contents are not those that were issued'
        WHEN p.payout_id IS NULL THEN 'there is no such cycle'
        ELSE format('it is one of %s versions', s.versions) END AS sentence
FROM (
    SELECT payee_id, cycle_id, version, sha256, encode(sha256(contents), 'hex') AS hashed,
        count(*) OVER (PARTITION BY payee_id, cycle_id) AS versions
    FROM settlement.issued_statement
) AS s
LEFT JOIN settlement.payout AS p ON p.payee_id = s.payee_id AND p.cycle_id = s.cycle_id AND p.part = 0
WHERE s.sha256 <> s.hashed OR s.version > s.versions OR p.payout_id IS NULL
LIMIT $1;

-- name: broken_claims
SELECT 'claim' AS relation, concat_ws('/', c.payee_id, encode(uuid_send(c.claim_id), 'hex')) AS key,
    CASE WHEN s.made <> 1 OR s.made_minor <> c.amount_minor
            THEN format('it is over %s, it was made %s times over %s in all', c.amount_minor, s.made, s.made_minor)
        ELSE format('%s were offset and %s collected, its steps make it %s and %s', c.offset_minor, c.collected_minor,
            s.offset_minor, s.collected_minor) END AS sentence
FROM settlement.claim AS c
LEFT JOIN (
    SELECT payee_id, claim_id, count(*) FILTER (WHERE kind = 'made') AS made,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'made'), 0) AS made_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'offset'), 0) AS offset_minor,
        coalesce(sum(amount_minor) FILTER (WHERE kind = 'collected'), 0) AS collected_minor
    FROM settlement.claim_step GROUP BY payee_id, claim_id
) AS s ON s.payee_id = c.payee_id AND s.claim_id = c.claim_id
WHERE s.made IS DISTINCT FROM 1 OR s.made_minor <> c.amount_minor OR s.offset_minor <> c.offset_minor
    OR s.collected_minor <> c.collected_minor
LIMIT $1;

-- name: claims_against_cycles
SELECT 'claim' AS relation, concat_ws('/', coalesce(c.payee_id, s.payee_id),
        encode(uuid_send(coalesce(c.cycle_id, s.cycle_id)), 'hex')) AS key,
    format('it is over %s, its cycle was short of %s', coalesce(c.amount_minor, 0), coalesce(s.shortfall_minor, 0)) AS sentence
FROM settlement.claim AS c
FULL JOIN (
    SELECT payee_id, cycle_id, sum(amount_minor) AS shortfall_minor
    FROM settlement.clearing WHERE kind = 'shortfall' AND state = 'DONE' GROUP BY payee_id, cycle_id
) AS s ON s.payee_id = c.payee_id AND s.cycle_id = c.cycle_id
LEFT JOIN settlement.payout AS p ON p.payee_id = s.payee_id AND p.cycle_id = s.cycle_id
WHERE coalesce(c.amount_minor, 0) <> coalesce(s.shortfall_minor, 0) AND (c.claim_id IS NOT NULL OR p.state <> 'MADE')
LIMIT $1;

-- name: claim_steps_against_payments
SELECT 'claim_step' AS relation, concat_ws('/', s.payee_id, encode(uuid_send(s.claim_id), 'hex'), s.sequence::text) AS key,
    CASE WHEN c.claim_id IS NULL THEN 'there is no such claim'
        WHEN y.payment_id IS NULL THEN 'there is no payment of it'
        ELSE format('its payment is a %s of %s by %s, %s', y.kind, y.amount_minor, y.payer_id, y.state) END AS sentence
FROM settlement.claim_step AS s
LEFT JOIN settlement.claim AS c ON c.payee_id = s.payee_id AND c.claim_id = s.claim_id
LEFT JOIN (
    -- A repayment's payment bears settlement's own name for it as its reference.
    SELECT payment_id, kind, state, payer_id, payee_id, amount_minor,
        CASE kind WHEN 'claim_repayment' THEN reference ELSE 'cof_' || encode(uuid_send(payment_id), 'hex') END AS name
    FROM payment.payment WHERE kind IN ('claim_offset', 'claim_repayment')
) AS y ON y.name = s.payment_id
WHERE c.claim_id IS NULL OR (s.kind <> 'made' AND (y.payment_id IS NULL OR y.state <> 'CAPTURED'
    OR y.payee_id <> s.payee_id OR y.amount_minor < s.amount_minor
    OR y.kind <> CASE s.kind WHEN 'offset' THEN 'claim_offset' ELSE 'claim_repayment' END))
LIMIT $1;

-- name: overused_claim_payments
SELECT 'claim_step' AS relation, s.payment_id AS key,
    format('%s of it went to claims, the payment is over %s', sum(s.amount_minor), y.amount_minor) AS sentence
FROM settlement.claim_step AS s
JOIN payment.payment AS y ON s.payment_id = CASE y.kind WHEN 'claim_repayment' THEN y.reference
        ELSE 'cof_' || encode(uuid_send(y.payment_id), 'hex') END
    AND y.kind IN ('claim_offset', 'claim_repayment')
WHERE s.kind <> 'made' GROUP BY s.payment_id, y.amount_minor HAVING sum(s.amount_minor) > y.amount_minor
LIMIT $1;

-- name: movements_against_payments
SELECT 'movement' AS relation, m.payment_id AS key,
    CASE WHEN y.payment_id IS NULL THEN format('it is %s, but there is no such payment', m.state)
        WHEN (m.kind, m.owner_id, m.counterpart_id, m.amount_minor)
                IS DISTINCT FROM (y.kind, y.payer_id, y.payee_id, y.amount_minor)
            THEN format('it is a %s of %s from %s to %s, its payment a %s of %s from %s to %s', m.kind, m.amount_minor,
                m.owner_id, m.counterpart_id, y.kind, y.amount_minor, y.payer_id, y.payee_id)
        ELSE format('it is %s, its payment %s', m.state, y.state) END AS sentence
FROM settlement.movement AS m
LEFT JOIN payment.payment AS y ON encode(uuid_send(y.payment_id), 'hex')
    = substr(CASE m.kind WHEN 'claim_repayment' THEN m.refund_id ELSE m.payment_id END, 5)
WHERE m.refund_of IS NULL AND m.state <> 'ASKED'
    AND CASE WHEN y.payment_id IS NULL THEN m.state <> 'REFUSED'
        ELSE (m.kind, m.owner_id, m.counterpart_id, m.amount_minor)
                IS DISTINCT FROM (y.kind, y.payer_id, y.payee_id, y.amount_minor)
            OR (m.state IN ('REFUSED', 'CAPTURED') AND y.state NOT IN (m.state, 'RETURNED')) END
LIMIT $1;

-- name: payments_outside_settlement
-- Merchants' own money that moved though settlement never asked for it: of merchants that it settles with, or in its name.
WITH known AS (
    SELECT payee_id AS merchant_id FROM settlement.daily_summary
    UNION
    SELECT owner_id FROM settlement.daily_summary
    UNION
    SELECT payee_id FROM settlement.payout
)
SELECT 'payment' AS relation, encode(uuid_send(y.payment_id), 'hex') AS key,
    format('it is a %s of %s from %s to %s by %s, which settlement never asked for', y.kind, y.amount_minor, y.payer_id,
        y.payee_id, y.caller) AS sentence
FROM payment.payment AS y
LEFT JOIN settlement.movement AS m ON substr(m.payment_id, 5) = encode(uuid_send(y.payment_id), 'hex')
    AND m.refund_of IS NULL
LEFT JOIN settlement.movement AS c
    ON c.payment_id = y.reference AND y.kind = 'claim_repayment' AND c.kind = y.kind
    AND (c.refund_id IS NULL OR substr(c.refund_id, 5) = encode(uuid_send(y.payment_id), 'hex'))
WHERE y.kind IN ('merchant_fee', 'merchant_fee_exempt', 'clearing', 'shortfall', 'claim_offset', 'claim_repayment',
        'transfer_fee', 'payout')
    AND (y.captured_minor > 0 OR y.state IN ('IN_FLIGHT', 'RETURNED'))
    AND m.payment_id IS NULL AND c.payment_id IS NULL
    AND (y.caller = 'settlement' OR y.payer_id IN (SELECT merchant_id FROM known)
        OR y.payee_id IN (SELECT merchant_id FROM known))
LIMIT $1;

-- name: refunds_outside_settlement
SELECT 'refund' AS relation, f.payment_id AS key,
    format('%s of a %s was given back, settlement asked for %s', f.amount_minor, f.kind, coalesce(m.amount_minor, 0)) AS sentence
FROM (
    SELECT encode(uuid_send(r.payment_id), 'hex') AS payment_id, y.kind, sum(r.amount_minor) AS amount_minor
    FROM payment.refund AS r
    JOIN payment.payment AS y ON y.payment_id = r.payment_id
    JOIN settlement.movement AS w ON substr(w.payment_id, 5) = encode(uuid_send(y.payment_id), 'hex') AND w.refund_of IS NULL
    WHERE r.state = 'SUCCEEDED' AND y.kind IN ('merchant_fee', 'merchant_fee_exempt', 'transfer_fee')
    GROUP BY r.payment_id, y.kind
) AS f
LEFT JOIN (
    SELECT substr(refund_of, 5) AS payment_id, sum(amount_minor) AS amount_minor
    FROM settlement.movement WHERE refund_of IS NOT NULL AND state <> 'REFUSED' GROUP BY refund_of
) AS m ON m.payment_id = f.payment_id
WHERE f.amount_minor > coalesce(m.amount_minor, 0)
LIMIT $1;

-- name: payments_by_hand
-- What operators moved of merchants that settlement has never settled with.
SELECT y.caller, y.kind, count(*) AS payments, sum(y.captured_minor)::bigint AS amount_minor
FROM payment.payment AS y
LEFT JOIN settlement.movement AS m ON substr(m.payment_id, 5) = encode(uuid_send(y.payment_id), 'hex')
    AND m.refund_of IS NULL
WHERE y.kind IN ('merchant_fee', 'merchant_fee_exempt', 'clearing', 'shortfall', 'claim_offset', 'claim_repayment',
        'transfer_fee', 'payout')
    AND y.caller <> 'settlement' AND (y.captured_minor > 0 OR y.state IN ('IN_FLIGHT', 'RETURNED'))
    AND m.payment_id IS NULL
GROUP BY y.caller, y.kind
ORDER BY y.caller, y.kind
LIMIT $1;

-- name: returns_against_refunds
SELECT 'movement' AS relation, m.payment_id AS key,
    CASE WHEN f.refund_id IS NULL THEN format('it is %s, but there is no such refund', m.state)
        ELSE format('it gives back %s of %s, its refund is %s of %s', m.amount_minor, m.refund_of, f.state, f.amount_minor)
        END AS sentence
FROM settlement.movement AS m
LEFT JOIN payment.refund AS f ON encode(uuid_send(f.refund_id), 'hex') = substr(m.refund_id, 5)
    AND encode(uuid_send(f.payment_id), 'hex') = substr(m.refund_of, 5)
WHERE m.refund_of IS NOT NULL AND m.state NOT IN ('ASKED', 'REFUSED')
    AND (f.refund_id IS NULL OR f.state <> m.state OR f.amount_minor <> m.amount_minor)
LIMIT $1;

-- name: overreturned_movements
SELECT 'movement' AS relation, m.payment_id AS key,
    format('%s of it came back, its payment says %s', m.returned_minor, y.refunded_minor) AS sentence
FROM settlement.movement AS m JOIN payment.payment AS y ON encode(uuid_send(y.payment_id), 'hex') = substr(m.payment_id, 5)
WHERE m.refund_of IS NULL AND y.busy_with IS NULL AND y.state <> 'RETURNED' AND m.kind <> 'payout'
    AND m.returned_minor > y.refunded_minor
LIMIT $1;

-- name: movements_nobody_asked
SELECT 'movement' AS relation, coalesce(c.payment_id, f.payment_id) AS key,
    'it was written down as asked for, but there is no such movement' AS sentence
FROM (SELECT payment_id FROM settlement.clearing WHERE state = 'DONE') AS c
FULL JOIN (SELECT payment_id FROM settlement.fee WHERE state = 'ISSUED' AND kind = 'fee') AS f ON f.payment_id = c.payment_id
LEFT JOIN settlement.movement AS m ON m.payment_id = coalesce(c.payment_id, f.payment_id)
WHERE m.payment_id IS NULL OR m.state IN ('ASKED', 'REFUSED')
LIMIT $1;

-- name: clearings_against_movements
SELECT 'clearing' AS relation, concat_ws('/', c.payee_id, encode(uuid_send(c.cycle_id), 'hex'), c.owner_id) AS key,
    format('it is a %s of %s, its movement a %s of %s', c.kind, c.amount_minor, m.kind, m.amount_minor) AS sentence
FROM settlement.clearing AS c JOIN settlement.movement AS m ON m.payment_id = c.payment_id
WHERE (c.kind, c.amount_minor) <> (m.kind, m.amount_minor) OR (c.state = 'REFUSED') <> (m.state = 'REFUSED')
    OR (CASE c.kind WHEN 'clearing' THEN m.owner_id ELSE m.counterpart_id END) <> c.owner_id
LIMIT $1;

-- name: fees_against_movements
SELECT 'fee' AS relation, concat_ws('/', f.owner_id, encode(uuid_send(f.fee_id), 'hex')) AS key,
    format('it is %s yen of %s, its movement %s of %s', f.amount_minor, f.owner_id, m.amount_minor, m.owner_id) AS sentence
FROM settlement.fee AS f JOIN settlement.movement AS m ON m.payment_id = f.payment_id
WHERE f.kind = 'fee' AND ((f.owner_id, f.amount_minor) <> (m.owner_id, m.amount_minor)
    OR (f.state = 'ISSUED' AND m.state IN ('ASKED', 'REFUSED')))
LIMIT $1;

-- name: fees_twice
SELECT 'fee' AS relation, owner_id || '/' || encode(uuid_send(origin_id), 'hex') AS key,
    format('%s fees were made for it', count(*)) AS sentence
FROM settlement.fee WHERE kind = 'fee' GROUP BY owner_id, origin_id, method HAVING count(*) > 1
LIMIT $1;

-- name: payees_out_of_balance
-- Sold = paid out + fees + carried + claimed - collected, for each payee.
SELECT 'payout' AS relation, coalesce(s.payee_id, p.payee_id, c.payee_id) AS key,
    format('its cycles come to %s: %s was paid, %s went to transfer fees, %s is still to be paid, %s was offset, %s is owed',
        coalesce(s.net_minor, 0), coalesce(p.paid, 0), coalesce(p.fees, 0), coalesce(p.waiting, 0), coalesce(p.offset_minor, 0),
        coalesce(c.amount_minor, 0)) AS sentence
FROM (SELECT payee_id, sum(net_minor) AS net_minor, sum(shortfall_minor) AS shortfall FROM settlement.sales_summary GROUP BY payee_id)
    AS s
FULL JOIN (
    SELECT payee_id, sum(amount_minor) FILTER (WHERE state = 'PAID') AS paid,
        sum(transfer_fee_minor) FILTER (WHERE state = 'PAID') AS fees,
        sum(payable_minor) FILTER (WHERE state <> 'PAID' AND taken_by IS NULL) AS waiting, sum(offset_minor) AS offset_minor
    FROM settlement.payout GROUP BY payee_id
) AS p ON p.payee_id = s.payee_id
FULL JOIN (SELECT payee_id, sum(amount_minor) AS amount_minor FROM settlement.claim GROUP BY payee_id) AS c
    ON c.payee_id = coalesce(s.payee_id, p.payee_id)
WHERE coalesce(s.net_minor, 0) <> coalesce(p.paid, 0) + coalesce(p.fees, 0) + coalesce(p.waiting, 0)
    + coalesce(p.offset_minor, 0) - coalesce(s.shortfall, 0)
LIMIT $1;

-- name: offsets_out_of_balance
SELECT 'claim' AS relation, coalesce(p.payee_id, c.payee_id) AS key,
    format('payouts offset %s, claims were offset by %s', coalesce(p.offset_minor, 0), coalesce(c.offset_minor, 0)) AS sentence
FROM (
    SELECT payee_id, sum(offset_minor) AS offset_minor
    FROM settlement.payout WHERE state <> 'MADE' GROUP BY payee_id
) AS p
FULL JOIN (
    -- Whose payouts claims were offset against: their own, or those of who collects for them.
    SELECT m.owner_id AS payee_id, sum(s.amount_minor) AS offset_minor
    FROM settlement.claim_step AS s JOIN settlement.movement AS m ON m.payment_id = s.payment_id
    WHERE s.kind = 'offset' GROUP BY m.owner_id
) AS c ON c.payee_id = p.payee_id
WHERE coalesce(p.offset_minor, 0) <> coalesce(c.offset_minor, 0)
    AND coalesce(p.payee_id, c.payee_id) NOT IN (SELECT payee_id FROM settlement.payout WHERE state = 'MADE')
LIMIT $1;

-- name: payment_events
SELECT o.position, o.payload
FROM payment.outbox AS o
WHERE o.topic = 'payment.payment' AND o.position <= $1
ORDER BY o.position;

-- name: untold_events
-- What was committed and is not relayed yet.
SELECT EXISTS (SELECT 1 FROM payment.outbox WHERE topic = 'payment.payment' AND position IS NULL);

-- name: heard
SELECT position, handled FROM settlement.subscription_cursor WHERE subscription = $1;

-- name: transactions_by_id
SELECT t.owner_id, t.transaction_id, t.kind, t.from_id, t.to_id, t.amount_minor, t.payment_id, t.processing_id,
    t.occurred_at, t.method, t.business_date
FROM unnest($1::text[], $2::uuid[]) AS u (owner_id, transaction_id)
JOIN settlement.transaction_data AS t ON t.owner_id = u.owner_id AND t.transaction_id = u.transaction_id;

-- name: transactions
SELECT owner_id, transaction_id FROM settlement.transaction_data;

-- name: transaction_count
SELECT count(*) FROM settlement.transaction_data;

-- name: owners
-- What each owner's ledger accounts hold, beside what transactions, clearings, payouts and claims make of it: of all
-- payments that nothing is under way with.
WITH under_way AS (
    SELECT encode(uuid_send(payment_id), 'hex') AS payment_id FROM payment.payment
    WHERE busy_with IS NOT NULL OR state IN ('PENDING', 'UNKNOWN', 'AUTHORIZED', 'PARTIALLY_CAPTURED')
)
SELECT o.owner_id, coalesce(t.net_minor, 0)::bigint AS recorded_minor,
    coalesce(m.unsettled, 0)::bigint AS unsettled_moved, coalesce(m.settled, 0)::bigint AS settled_moved,
    coalesce(m.claims, 0)::bigint AS claims_moved
FROM (
    SELECT owner_id FROM settlement.transaction_data
    UNION
    SELECT payee_id FROM settlement.payout
) AS o
LEFT JOIN (
    SELECT d.owner_id, sum(CASE WHEN d.to_id = d.owner_id THEN d.amount_minor ELSE -d.amount_minor END) AS net_minor
    FROM settlement.transaction_data AS d LEFT JOIN under_way AS u ON u.payment_id = substr(d.payment_id, 5)
    WHERE u.payment_id IS NULL
    GROUP BY d.owner_id
) AS t ON t.owner_id = o.owner_id
LEFT JOIN (
    SELECT p.owner_id, sum(p.unsettled) AS unsettled, sum(p.settled) AS settled, sum(p.claims) AS claims
    FROM (
        SELECT payer_id AS owner_id, CASE kind WHEN 'clearing' THEN -captured_minor ELSE 0 END AS unsettled,
            CASE kind WHEN 'claim_offset' THEN -captured_minor
                WHEN 'transfer_fee' THEN refunded_minor - captured_minor
                WHEN 'payout' THEN CASE state WHEN 'CAPTURED' THEN -amount_minor ELSE 0 END
                ELSE 0 END AS settled,
            CASE kind WHEN 'shortfall' THEN -captured_minor ELSE 0 END AS claims
        FROM payment.payment
        WHERE kind IN ('clearing', 'claim_offset', 'transfer_fee', 'payout', 'shortfall')
            AND busy_with IS NULL AND state NOT IN ('PENDING', 'UNKNOWN', 'AUTHORIZED', 'PARTIALLY_CAPTURED')
        UNION ALL
        SELECT payee_id, CASE kind WHEN 'shortfall' THEN captured_minor ELSE 0 END,
            CASE kind WHEN 'clearing' THEN captured_minor ELSE 0 END,
            CASE WHEN kind IN ('claim_offset', 'claim_repayment') THEN captured_minor ELSE 0 END
        FROM payment.payment
        WHERE kind IN ('shortfall', 'clearing', 'claim_offset', 'claim_repayment')
            AND busy_with IS NULL AND state NOT IN ('PENDING', 'UNKNOWN', 'AUTHORIZED', 'PARTIALLY_CAPTURED')
    ) AS p
    GROUP BY p.owner_id
) AS m ON m.owner_id = o.owner_id;

-- name: balances
SELECT a.owner, a.account_type, (CASE WHEN h.account_id IS NULL THEN a.balance ELSE h.balance END)::bigint AS balance
FROM ledger.account AS a
LEFT JOIN (SELECT account_id, sum(amount) AS balance FROM ledger.hot_log GROUP BY account_id) AS h
    ON h.account_id = a.account_id
WHERE a.account_type IN ('unsettled_sales', 'settled_sales', 'settled_claims');

-- name: exchanges_beside
-- What moved merchants' accounts without a payment, and with payments that something is under way with.
SELECT a.owner, a.account_type, l.exchange_id, sum(l.amount)::bigint AS amount_minor, y.payment_id IS NOT NULL AS under_way
FROM (
    SELECT account_id, exchange_id, amount FROM ledger.hot_log
    UNION ALL
    SELECT account_id, exchange_id, amount FROM ledger.account_log
) AS l
JOIN ledger.account AS a ON a.account_id = l.account_id
    AND a.account_type IN ('unsettled_sales', 'settled_sales', 'settled_claims')
LEFT JOIN ledger.exchange_reference AS r ON r.exchange_id = l.exchange_id
LEFT JOIN payment.refund AS f ON encode(uuid_send(f.refund_id), 'hex') = substr(r.reference, 5, 32)
LEFT JOIN payment.payment AS y
    ON encode(uuid_send(y.payment_id), 'hex') = coalesce(encode(uuid_send(f.payment_id), 'hex'), substr(r.reference, 5, 32))
WHERE y.payment_id IS NULL OR y.busy_with IS NOT NULL
    OR y.state IN ('PENDING', 'UNKNOWN', 'AUTHORIZED', 'PARTIALLY_CAPTURED')
GROUP BY a.owner, a.account_type, l.exchange_id, y.payment_id
ORDER BY a.owner, a.account_type, l.exchange_id;

-- name: exchanges_of_steps
-- Which further exchanges the steps of payments name: what went back, or was paid on.
SELECT s.exchange_id, s.given_back,
    p.busy_with IS NOT NULL OR p.state IN ('PENDING', 'UNKNOWN', 'AUTHORIZED', 'PARTIALLY_CAPTURED') AS under_way
FROM payment.payment_step AS s JOIN payment.payment AS p ON p.payment_id = s.payment_id
WHERE s.exchange_id IS NOT NULL OR s.given_back IS NOT NULL;

-- name: busy_owners
-- Whose payments something is being done with at this moment: an exchange of it has no step yet.
SELECT payer_id AS owner_id FROM payment.payment WHERE busy_with IS NOT NULL
UNION
SELECT payee_id FROM payment.payment WHERE busy_with IS NOT NULL;
