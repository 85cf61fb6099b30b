-- name: broken_files
SELECT 'transfer_file' AS relation, 'btf_' || encode(uuid_send(f.file_id), 'hex') AS key,
    CASE WHEN f.lines <> l.lines OR f.total_minor <> l.total_minor
            THEN format('its trailer says %s lines of %s, it has %s of %s', f.lines, f.total_minor, coalesce(l.lines, 0),
                coalesce(l.total_minor, 0))
        WHEN l.lines IS NULL THEN 'it has no lines'
        WHEN f.open_lines <> l.open_lines THEN format('%s of its lines are open, it says %s', l.open_lines, f.open_lines)
        WHEN l.last <> l.lines THEN 'its lines are not numbered 1, 2, 3 …'
        WHEN s.state IS DISTINCT FROM f.state THEN format('it is %s, its last step is %s', f.state, s.state)
        ELSE format('%s approved it, it says %s', coalesce(a.approvals, 0), f.approvals) END AS sentence
FROM bank.transfer_file AS f
LEFT JOIN (
    SELECT file_id, count(*) AS lines, max(line) AS last, sum(amount_minor) AS total_minor,
        count(*) FILTER (WHERE state IN ('MADE', 'APPROVED', 'SENT', 'ACCEPTED')) AS open_lines
    FROM bank.file_line GROUP BY file_id
) AS l ON l.file_id = f.file_id
LEFT JOIN (
    SELECT file_id, (array_agg(state ORDER BY sequence DESC))[1] AS state FROM bank.file_step GROUP BY file_id
) AS s ON s.file_id = f.file_id
LEFT JOIN (SELECT file_id, count(*) AS approvals FROM bank.file_approval GROUP BY file_id) AS a ON a.file_id = f.file_id
WHERE l.lines IS NULL OR f.lines <> l.lines OR f.total_minor <> l.total_minor OR f.open_lines <> l.open_lines
    OR l.last <> l.lines OR s.state IS DISTINCT FROM f.state OR f.approvals <> coalesce(a.approvals, 0)
LIMIT $1;

-- name: own_approvals
SELECT 'file_approval' AS relation, 'btf_' || encode(uuid_send(a.file_id), 'hex') || '/' || a.approver AS key,
    CASE WHEN f.file_id IS NULL THEN 'there is no such file' ELSE 'whoever made a file does not approve it' END AS sentence
FROM bank.file_approval AS a LEFT JOIN bank.transfer_file AS f ON f.file_id = a.file_id
WHERE f.file_id IS NULL OR f.maker = a.approver
LIMIT $1;

-- name: unapproved_files
SELECT 'transfer_file' AS relation, 'btf_' || encode(uuid_send(f.file_id), 'hex') AS key,
    format('it went with %s of %s approvals', coalesce(a.approvals, 0), f.approvals_needed) AS sentence
FROM bank.transfer_file AS f
LEFT JOIN (SELECT file_id, count(*) AS approvals FROM bank.file_approval GROUP BY file_id) AS a ON a.file_id = f.file_id
WHERE f.state IN ('APPROVED', 'SENDING', 'SENT', 'ACCEPTED', 'CLOSED') AND coalesce(a.approvals, 0) < f.approvals_needed
LIMIT $1;

-- name: broken_lines
SELECT 'file_line' AS relation, 'btf_' || encode(uuid_send(l.file_id), 'hex') || '/' || l.line AS key,
    CASE WHEN f.file_id IS NULL THEN 'there is no such file'
        WHEN i.instruction_id IS NULL THEN 'there is no such instruction'
        WHEN l.kind <> f.kind THEN format('it is a %s in a file of %ss', l.kind, f.kind)
        WHEN i.amount_minor <> l.amount_minor
            THEN format('it is over %s, its instruction over %s', l.amount_minor, i.amount_minor)
        ELSE format('it is %s in version %s, its last step is %s, %s', l.state, l.version, s.sequence, s.state) END AS sentence
FROM bank.file_line AS l
LEFT JOIN bank.transfer_file AS f ON f.file_id = l.file_id
LEFT JOIN bank.instruction AS i ON i.instruction_id = l.instruction_id AND i.kind = l.kind
LEFT JOIN (
    SELECT file_id, line, max(sequence) AS sequence, (array_agg(state ORDER BY sequence DESC))[1] AS state,
        (array_agg(failure_code ORDER BY sequence DESC))[1] AS failure_code
    FROM bank.line_step GROUP BY file_id, line
) AS s ON s.file_id = l.file_id AND s.line = l.line
WHERE f.file_id IS NULL OR i.instruction_id IS NULL OR l.kind <> f.kind OR i.amount_minor <> l.amount_minor
    OR s.state IS DISTINCT FROM l.state OR s.failure_code IS DISTINCT FROM l.failure_code
LIMIT $1;

-- name: orphaned_line_steps
SELECT 'line_step' AS relation, 'btf_' || encode(uuid_send(s.file_id), 'hex') || '/' || s.line || '/' || s.sequence AS key,
    'there is no such line' AS sentence
FROM bank.line_step AS s LEFT JOIN bank.file_line AS l ON l.file_id = s.file_id AND l.line = s.line
WHERE l.file_id IS NULL
UNION ALL
SELECT 'file_step', 'btf_' || encode(uuid_send(s.file_id), 'hex') || '/' || s.sequence, 'there is no such file'
FROM bank.file_step AS s LEFT JOIN bank.transfer_file AS f ON f.file_id = s.file_id
WHERE f.file_id IS NULL
LIMIT $1;

-- name: strange_line_steps
SELECT 'line_step' AS relation, 'btf_' || encode(uuid_send(s.file_id), 'hex') || '/' || s.line || '/' || s.sequence AS key,
    format('it leads from %s to %s', s.before, s.state) AS sentence
FROM (
    SELECT file_id, line, sequence, state, lag(state) OVER (PARTITION BY file_id, line ORDER BY sequence) AS before
    FROM bank.line_step
) AS s
WHERE s.before IN ('REFUSED', 'FAILED', 'RETURNED', 'RECALLED', 'DISCARDED') AND s.state <> s.before
    OR (s.before = 'DONE' AND s.state NOT IN ('DONE', 'RETURNED', 'RECALLED'))
UNION ALL
SELECT 'file_step', 'btf_' || encode(uuid_send(s.file_id), 'hex') || '/' || s.sequence,
    format('it leads from %s to %s', s.before, s.state)
FROM (
    SELECT file_id, sequence, state, lag(state) OVER (PARTITION BY file_id ORDER BY sequence) AS before FROM bank.file_step
) AS s
WHERE s.before IN ('REFUSED', 'DISCARDED') OR (s.before = 'CLOSED' AND s.state <> 'CLOSED')
LIMIT $1;

-- name: instructions_twice
SELECT 'file_line' AS relation, string_agg('btf_' || encode(uuid_send(l.file_id), 'hex') || '/' || l.line, ', ') AS key,
    'they are all of one instruction' AS sentence
FROM bank.file_line AS l
WHERE l.state NOT IN ('REFUSED', 'FAILED', 'DISCARDED')
GROUP BY l.instruction_id, l.kind HAVING count(*) > 1
LIMIT $1;

-- name: lines_against_instructions
SELECT 'file_line' AS relation, 'btf_' || encode(uuid_send(l.file_id), 'hex') || '/' || l.line AS key,
    format('it is %s, its instruction %s', l.state, i.state) AS sentence
FROM bank.file_line AS l
JOIN bank.instruction AS i ON i.instruction_id = l.instruction_id AND i.kind = l.kind AND i.file_id = l.file_id
WHERE (l.state = 'DONE' AND i.state <> 'DONE') OR (l.state IN ('RETURNED', 'RECALLED') AND i.state <> 'RETURNED')
    OR (l.state = 'MADE' AND i.state NOT IN ('ACCEPTED', 'UNKNOWN'))
LIMIT $1;

-- name: instructions_without_line
SELECT 'instruction' AS relation,
    CASE i.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(i.instruction_id), 'hex') AS key,
    'the file that it is in has no such line' AS sentence
FROM bank.instruction AS i
LEFT JOIN bank.file_line AS l ON l.file_id = i.file_id AND l.line = i.file_line AND l.instruction_id = i.instruction_id
WHERE i.file_id IS NOT NULL AND l.file_id IS NULL
LIMIT $1;

-- name: broken_statement_days
SELECT 'statement_day' AS relation, d.day::text AS key,
    CASE WHEN d.lines <> coalesce(l.lines, 0) OR d.moved_minor <> coalesce(l.moved_minor, 0)
            THEN format('it has %s lines of %s, its lines make it %s of %s', d.lines, d.moved_minor, coalesce(l.lines, 0),
                coalesce(l.moved_minor, 0))
        WHEN d.agrees AND o.open > 0 THEN 'it agrees, though something of it is not explained'
        WHEN d.agrees AND d.closing_minor <> d.ours_minor
            THEN format('it agrees, though the bank closed at %s and we at %s', d.closing_minor, d.ours_minor)
        ELSE format('%s and %s make %s', d.opening_minor, d.moved_minor, d.closing_minor) END AS sentence
FROM bank.statement_day AS d
LEFT JOIN (SELECT day, count(*) AS lines, sum(amount_minor) AS moved_minor FROM bank.statement_line GROUP BY day) AS l
    ON l.day = d.day
LEFT JOIN (
    SELECT day, count(*) AS open FROM bank.statement_difference WHERE resolved_at IS NULL GROUP BY day
) AS o ON o.day = d.day
WHERE d.lines <> coalesce(l.lines, 0) OR d.moved_minor <> coalesce(l.moved_minor, 0)
    OR (d.agrees AND (coalesce(o.open, 0) > 0 OR d.closing_minor <> d.ours_minor
        OR d.opening_minor + d.moved_minor <> d.closing_minor))
LIMIT $1;

-- name: unexplained_statement
SELECT 'statement_difference' AS relation, d.day || '/' || d.about AS key,
    format('%s: %s here, %s at the bank', d.reason, d.ours_minor, d.theirs_minor) AS sentence
FROM bank.statement_difference AS d
WHERE d.resolved_at IS NULL
LIMIT $1;

-- name: statement_against_instructions
SELECT 'statement_line' AS relation, l.day || '/' || l.position AS key,
    CASE WHEN i.instruction_id IS NULL THEN 'there is no such instruction'
        ELSE format('it moves %s, its instruction is over %s', l.amount_minor, i.amount_minor) END AS sentence
FROM bank.statement_line AS l
LEFT JOIN bank.instruction AS i ON i.instruction_id = l.instruction_id AND i.kind = l.kind
WHERE l.instruction_id IS NOT NULL AND (i.instruction_id IS NULL OR abs(l.amount_minor) <> i.amount_minor)
LIMIT $1;

-- name: contents
SELECT f.file_id, f.kind, f.transfer_on, f.lines, f.total_minor, f.content_sealed, f.content_sha256, f.made_at
FROM bank.transfer_file AS f
ORDER BY f.file_id;

-- name: lines_of_file
SELECT l.line, l.customer_code_1, l.customer_code_2, l.amount_minor, a.account_id, a.bank_code, a.branch_code,
    a.deposit_type, a.number_sealed, a.holder_sealed, a.fingerprint
FROM bank.file_line AS l
LEFT JOIN bank.instruction AS i ON i.instruction_id = l.instruction_id AND i.kind = l.kind
LEFT JOIN bank.account AS a ON a.account_id = i.account_id
WHERE l.file_id = $1 ORDER BY l.line;

-- name: count_contents
SELECT count(*) FROM bank.transfer_file;

-- name: lines
SELECT l.file_id, l.line, l.kind, l.amount_minor, l.state, f.state AS file_state, f.content_sha256
FROM bank.file_line AS l JOIN bank.transfer_file AS f ON f.file_id = l.file_id
ORDER BY l.file_id, l.line;
