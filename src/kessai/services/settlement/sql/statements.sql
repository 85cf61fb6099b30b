-- name: statements_issued
SELECT version, contents, sha256, issued_at
FROM settlement.issued_statement
WHERE payee_id = $1::text AND cycle_id = $2::uuid
ORDER BY version

-- name: issue_statement
INSERT INTO settlement.issued_statement (payee_id, cycle_id, version, contents, sha256, issued_at)
VALUES ($1::text, $2::uuid, $3::int, $4::bytea, $5::text, $6::timestamptz)

-- name: cycles_to_state
SELECT DISTINCT p.payee_id, p.cycle_id
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE p.state <> 'MADE' AND p.stated_version IS DISTINCT FROM p.version AND s.last_day <= $1::date
    AND (p.payee_id, p.cycle_id) > ($2::text, $3::uuid)
ORDER BY p.payee_id, p.cycle_id
LIMIT $4::int

-- name: note_stated
UPDATE settlement.payout AS p
SET stated_version = u.version
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS u (payee_id, payout_id, version)
WHERE p.payee_id = u.payee_id AND p.payout_id = u.payout_id

-- name: first_to_state
SELECT min(s.last_day) AS last_day
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE p.state <> 'MADE' AND p.stated_version IS DISTINCT FROM p.version
