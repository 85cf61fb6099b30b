-- name: broken_instructions
SELECT 'instruction' AS relation, CASE i.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(i.instruction_id), 'hex') AS key,
    format('it is %s in version %s, its %s steps make it %s', i.state, i.version, s.steps, coalesce(s.state, 'ACCEPTED'))
        AS sentence
FROM bank.instruction AS i
LEFT JOIN (
    SELECT instruction_id, kind, count(*) AS steps, max(sequence) AS last, min(sequence) AS first,
        (array_agg(state ORDER BY sequence DESC))[1] AS state,
        (array_agg(failure_code ORDER BY sequence DESC))[1] AS failure_code,
        (array_agg(recorded_at ORDER BY sequence DESC))[1] AS recorded_at
    FROM bank.instruction_step GROUP BY instruction_id, kind
) AS s ON s.instruction_id = i.instruction_id AND s.kind = i.kind
WHERE coalesce(s.steps, 0) <> i.version OR coalesce(s.last, 0) <> i.version OR coalesce(s.first, 1) <> 1
    OR coalesce(s.state, 'ACCEPTED') <> i.state OR s.failure_code IS DISTINCT FROM i.failure_code
    OR coalesce(s.recorded_at, i.created_at) <> i.updated_at
LIMIT $1;

-- name: broken_instruction_steps
SELECT 'instruction_step' AS relation,
    CASE s.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(s.instruction_id), 'hex') || '/' || s.sequence AS key,
    CASE WHEN i.instruction_id IS NULL THEN 'there is no such instruction'
        ELSE format('it leads from %s to %s', s.was, s.state) END AS sentence
FROM (
    SELECT instruction_id, kind, sequence, state,
        lag(state, 1, 'ACCEPTED') OVER (PARTITION BY instruction_id, kind ORDER BY sequence) AS was
    FROM bank.instruction_step
) AS s
LEFT JOIN bank.instruction AS i ON i.instruction_id = s.instruction_id AND i.kind = s.kind
WHERE i.instruction_id IS NULL OR (s.state = 'RETURNED' AND s.kind <> 'transfer')
    OR (s.was || ' ' || s.state) <> ALL (ARRAY['ACCEPTED UNKNOWN', 'ACCEPTED SENT', 'ACCEPTED DONE', 'ACCEPTED FAILED',
        'ACCEPTED RETURNED', 'UNKNOWN SENT', 'UNKNOWN DONE', 'UNKNOWN FAILED', 'UNKNOWN RETURNED', 'SENT DONE',
        'SENT FAILED', 'SENT RETURNED', 'DONE RETURNED'])
LIMIT $1;

-- name: abandoned_instructions
SELECT 'instruction' AS relation, CASE i.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(i.instruction_id), 'hex') AS key,
    format('it is %s, but no workflow works on it', i.state) AS sentence
FROM bank.instruction AS i
LEFT JOIN bank.workflow_open AS o
    ON o.workflow_id = CASE i.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(i.instruction_id), 'hex')
WHERE i.state IN ('ACCEPTED', 'UNKNOWN') AND i.transfer_on IS NULL AND o.workflow_id IS NULL
LIMIT $1;

-- name: abandoned_mandates
SELECT 'account' AS relation, 'bac_' || encode(uuid_send(a.account_id), 'hex') AS key,
    CASE WHEN a.state = 'PENDING' THEN 'its mandate is asked for, but no workflow works on it'
        ELSE format('it is %s, though its mandate is being asked for', a.state) END AS sentence
FROM bank.account AS a
LEFT JOIN bank.workflow_open AS o ON o.workflow_id = 'bac_' || encode(uuid_send(a.account_id), 'hex')
WHERE (a.state = 'PENDING') <> (o.workflow_id IS NOT NULL)
LIMIT $1;

-- name: strange_instructions
SELECT 'instruction' AS relation, CASE i.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(i.instruction_id), 'hex') AS key,
    CASE WHEN a.account_id IS NULL THEN 'there is no such bank account'
        WHEN a.state <> 'ACTIVE' THEN format('its bank account is %s', a.state)
        WHEN i.kind = 'debit' AND NOT a.debits THEN 'it debits an account without a mandate'
        ELSE format('its owner is %s, its account''s is %s', i.owner_id, a.owner_id) END AS sentence
FROM bank.instruction AS i LEFT JOIN bank.account AS a ON a.account_id = i.account_id
WHERE a.account_id IS NULL OR a.state <> 'ACTIVE' OR a.owner_id <> i.owner_id OR a.owner_kind <> i.owner_kind OR (i.kind = 'debit' AND NOT a.debits AND i.failure_code IS DISTINCT FROM 'aborted')
LIMIT $1;

-- name: unpublished_instruction_steps
SELECT 'outbox' AS relation, t.topic AS key,
    format('%s steps were recorded, %s published', t.steps, t.events) AS sentence
FROM (
    SELECT k.topic, (SELECT count(*) FROM bank.instruction_step AS s WHERE s.kind = k.kind) AS steps,
        (SELECT coalesce(sum(o.event_count), 0) FROM bank.outbox AS o WHERE o.topic = k.topic) AS events
    FROM (VALUES ('transfer', 'bank.transfer'), ('debit', 'bank.debit')) AS k (kind, topic)
) AS t
WHERE t.steps <> t.events
LIMIT $1;

-- name: instructions
-- Those that the bank got one by one; what went in files is compared line by line.
SELECT instruction_id, kind, state, amount_minor FROM bank.instruction
WHERE transfer_on IS NULL
ORDER BY created_at, instruction_id;
