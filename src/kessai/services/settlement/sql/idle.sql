-- name: unfinished
SELECT EXISTS (SELECT m.payment_id FROM settlement.movement AS m WHERE m.state = 'ASKED')
    OR EXISTS (SELECT b.owner_id FROM settlement.fee_base AS b WHERE b.state = 'WAITING' AND b.reason IS NULL)
    OR EXISTS (SELECT f.owner_id FROM settlement.fee AS f WHERE f.state = 'DUE' AND f.kind = 'fee')
    OR EXISTS (
        SELECT f.owner_id FROM settlement.fee AS f
        JOIN settlement.fee AS o ON o.owner_id = f.owner_id AND o.fee_id = f.returns_id AND o.state = 'ISSUED'
        WHERE f.state = 'DUE' AND f.kind = 'fee_refund'
    ) AS under_way,
    EXISTS (SELECT f.owner_id FROM settlement.fee AS f WHERE f.state = 'REFUSED')
    OR EXISTS (SELECT b.owner_id FROM settlement.fee_base AS b WHERE b.state = 'WAITING' AND b.reason IS NOT NULL)
    AS tried_again

-- name: open_parts
SELECT min(business_date) AS first_day
FROM settlement.fee_part
WHERE unit = $1::text AND business_date <= $2::date AND fee_id IS NULL

-- name: close_idle_through
UPDATE settlement.standing SET closed_through = $3::date
WHERE name = $1::text AND closed_through IS NOT DISTINCT FROM $2::date
RETURNING name

-- name: close_idle_days
INSERT INTO settlement.settlement_day (day, closed_at, transactions, net_minor, left_open)
SELECT u.day, $2::timestamptz, coalesce(d.transactions, 0)::bigint, coalesce(d.net_minor, 0)::bigint,
    coalesce((
        SELECT sum(o.transactions) FROM (
            SELECT t.business_date, count(*) AS transactions
            FROM settlement.open_transaction AS t
            GROUP BY t.business_date
        ) AS o
        WHERE o.business_date <= u.day
    ), 0)::bigint
FROM unnest($1::date[]) AS u (day)
LEFT JOIN (
    SELECT s.day, sum(s.transactions) AS transactions, sum(s.net_minor) AS net_minor
    FROM settlement.daily_summary AS s
    WHERE s.cycle_id IS NULL AND s.day = ANY ($1::date[])
    GROUP BY s.day
) AS d ON d.day = u.day
ON CONFLICT (day) DO NOTHING

-- name: payouts_to_look_at
SELECT min(s.last_day) FILTER (WHERE p.state = 'MADE' AND p.reason IS NULL) AS made_on,
    min(s.last_day) FILTER (WHERE p.state = 'MADE' AND p.reason IS NOT NULL) AS refused_on,
    min(p.instruct_on) FILTER (WHERE p.state = 'CLEARED') AS cleared_on,
    min(p.instruct_on) FILTER (WHERE p.state = 'HELD' AND p.reason NOT LIKE 'operator%') AS held_on,
    count(*) FILTER (WHERE p.state = 'INSTRUCTED' AND (m.payment_id IS NULL OR m.state = 'ASKED')) AS untold
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
LEFT JOIN settlement.movement AS m ON m.payment_id = p.payment_id
WHERE p.state IN ('MADE', 'CLEARED', 'HELD', 'INSTRUCTED')
