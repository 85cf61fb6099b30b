-- name: insert_day
INSERT INTO bank.statement_day (day, opening_minor, moved_minor, closing_minor, ours_minor, lines, agrees, imported_at,
    looked_at)
SELECT u.day, u.opening_minor, u.moved_minor, u.closing_minor, u.closing_minor, u.lines, false, u.imported_at,
    u.imported_at
FROM unnest($1::date[], $2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::timestamptz[])
    AS u (day, opening_minor, moved_minor, closing_minor, lines, imported_at)
ON CONFLICT (day) DO NOTHING
RETURNING day

-- name: insert_statement_lines
INSERT INTO bank.statement_line (day, position, bank_id, instruction_id, kind, amount_minor, balance_minor)
SELECT u.day, u.position, u.bank_id, u.instruction_id, u.kind, u.amount_minor, u.balance_minor
FROM unnest($1::date[], $2::bigint[], $3::text[], $4::uuid[], $5::text[], $6::bigint[], $7::bigint[])
    AS u (day, position, bank_id, instruction_id, kind, amount_minor, balance_minor)

-- name: load_day
SELECT day, opening_minor, moved_minor, closing_minor, ours_minor, lines, agrees, imported_at, looked_at
FROM bank.statement_day
WHERE day = $1

-- name: list_days
SELECT day, opening_minor, moved_minor, closing_minor, ours_minor, lines, agrees, imported_at, looked_at
FROM bank.statement_day
WHERE day < $1
ORDER BY day DESC
LIMIT $2

-- name: first_day
SELECT day, opening_minor, moved_minor, closing_minor, ours_minor, lines, agrees, imported_at, looked_at
FROM bank.statement_day
ORDER BY day
LIMIT 1

-- name: look_at_day
UPDATE bank.statement_day
SET ours_minor = $2, agrees = $3, looked_at = $4
WHERE day = $1
RETURNING day

-- name: unknown_lines
SELECT bank_id, sum(amount_minor)::bigint AS amount_minor
FROM bank.statement_line
WHERE day = $1 AND instruction_id IS NULL
GROUP BY bank_id
ORDER BY bank_id

-- name: ours_beside_theirs
WITH before AS (
    SELECT s.instruction_id, s.kind, s.state
    FROM bank.instruction_step AS s
    JOIN (
        SELECT instruction_id, kind, max(sequence) AS sequence
        FROM bank.instruction_step
        WHERE recorded_at < $3
        GROUP BY instruction_id, kind
    ) AS last ON last.instruction_id = s.instruction_id AND last.kind = s.kind AND last.sequence = s.sequence
), ours AS (
    SELECT i.instruction_id, i.kind, i.state, i.amount_minor, i.updated_at, i.transfer_on,
        CASE
            WHEN i.kind = 'debit' AND i.state = 'DONE' THEN i.amount_minor
            WHEN i.kind = 'transfer' AND i.state = 'DONE' THEN -i.amount_minor
            WHEN i.kind = 'transfer' AND i.state = 'SENT' AND i.transfer_on IS NULL THEN -i.amount_minor
            ELSE 0
        END - CASE
            WHEN i.kind = 'debit' AND b.state = 'DONE' THEN i.amount_minor
            WHEN i.kind = 'transfer' AND b.state = 'DONE' THEN -i.amount_minor
            WHEN i.kind = 'transfer' AND b.state = 'SENT' AND i.transfer_on IS NULL THEN -i.amount_minor
            ELSE 0
        END AS moved_minor
    FROM bank.instruction AS i
    LEFT JOIN before AS b ON b.instruction_id = i.instruction_id AND b.kind = i.kind
), theirs AS (
    SELECT instruction_id, kind, sum(amount_minor)::bigint AS moved_minor
    FROM bank.statement_line
    WHERE day <= $1 AND instruction_id IS NOT NULL
    GROUP BY instruction_id, kind
), both_sides AS (
    SELECT o.instruction_id, o.kind, o.moved_minor AS ours_minor, coalesce(t.moved_minor, 0) AS theirs_minor,
        (o.state IN ('ACCEPTED', 'UNKNOWN', 'SENT') OR o.updated_at >= $2)
            AND coalesce(t.moved_minor, 0) IN (0, CASE o.kind WHEN 'debit' THEN o.amount_minor ELSE -o.amount_minor END)
            AS under_way,
        o.state IN ('ACCEPTED', 'UNKNOWN', 'SENT') AND o.transfer_on < $5 AS overdue
    FROM ours AS o
    LEFT JOIN theirs AS t ON t.instruction_id = o.instruction_id AND t.kind = o.kind
), total AS (
    SELECT coalesce(sum(CASE WHEN under_way THEN theirs_minor ELSE ours_minor END), 0)::bigint AS moved_minor
    FROM both_sides
), differing AS (
    SELECT instruction_id, kind, ours_minor, theirs_minor
    FROM both_sides
    WHERE coalesce(overdue, false) OR (ours_minor <> theirs_minor AND NOT under_way)
    ORDER BY kind, instruction_id
    LIMIT $4
)
SELECT t.moved_minor, d.instruction_id, d.kind, d.ours_minor, d.theirs_minor
FROM total AS t
LEFT JOIN differing AS d ON true

-- name: differences_of_day
SELECT about, reason, ours_minor, theirs_minor, found_at, resolved_at
FROM bank.statement_difference
WHERE day = $1
ORDER BY about

-- name: note_differences
INSERT INTO bank.statement_difference (day, about, reason, ours_minor, theirs_minor, found_at)
SELECT u.day, u.about, u.reason, u.ours_minor, u.theirs_minor, u.found_at
FROM unnest($1::date[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[])
    AS u (day, about, reason, ours_minor, theirs_minor, found_at)
ON CONFLICT (day, about) DO UPDATE
SET reason = excluded.reason, ours_minor = excluded.ours_minor, theirs_minor = excluded.theirs_minor,
    found_at = CASE WHEN statement_difference.resolved_at IS NULL THEN statement_difference.found_at
        ELSE excluded.found_at END,
    resolved_at = NULL

-- name: resolve_differences
UPDATE bank.statement_difference
SET resolved_at = $2
WHERE day = $1 AND resolved_at IS NULL AND NOT (about = ANY ($3::text[]))
RETURNING about
