-- What every schema with shared components is asked; {schema} is the service's own.

-- name: tables
SELECT n.nspname || '.' || c.relname AS name FROM pg_catalog.pg_class AS c
JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND NOT starts_with(n.nspname, 'pg_');

-- name: broken_positions
SELECT 'outbox' AS relation, p.outbox_id::text AS key,
    format('its position is %s, between %s and %s', p.position, p.last, p.next) AS sentence
FROM (
    SELECT outbox_id, position, lag(position, 1, 0::bigint) OVER (ORDER BY position) AS last,
        lead(position) OVER (ORDER BY position) AS next
    FROM {schema}.outbox WHERE position IS NOT NULL
) AS p
WHERE p.position <> p.last + 1 OR p.position = p.next
LIMIT $1;

-- name: broken_heads
SELECT 'outbox_head' AS relation, h.source AS key,
    format('it is at %s, the last position given is %s', h.position, o.position) AS sentence
FROM {schema}.outbox_head AS h
CROSS JOIN (SELECT coalesce(max(position), 0) AS position FROM {schema}.outbox) AS o
WHERE h.position <> o.position OR h.source <> '{schema}'
UNION ALL
SELECT 'outbox_head', '{schema}', 'there is no head of the outbox'
WHERE NOT EXISTS (SELECT h.source FROM {schema}.outbox_head AS h WHERE h.source = '{schema}')
LIMIT $1;

-- name: miscounted_events
SELECT 'outbox' AS relation, outbox_id::text AS key,
    format('it says %s events, but carries %s', event_count, jsonb_array_length(convert_from(payload, 'UTF8')::jsonb))
        AS sentence
FROM {schema}.outbox WHERE jsonb_array_length(convert_from(payload, 'UTF8')::jsonb) <> event_count
LIMIT $1;

-- name: cursors
SELECT subscription, source, position, handled FROM {schema}.subscription_cursor ORDER BY subscription;

-- name: head
SELECT position FROM {schema}.outbox_head WHERE source = '{schema}';

-- name: row_at
SELECT topic, event_count, payload FROM {schema}.outbox WHERE position = $1;

-- name: parked_events
SELECT subscription, position, ordinal, source, topic, payload, error, resolved_at IS NOT NULL AS resolved
FROM {schema}.parked_event ORDER BY subscription, position, ordinal;

-- name: parked_workflows
SELECT 'workflow_open' AS relation, workflow_id AS key, format('it waits for an operator: %s', parked_error) AS sentence
FROM {schema}.workflow_open WHERE parked_error IS NOT NULL
LIMIT $1;

-- name: finished_twice
SELECT 'workflow_open' AS relation, o.workflow_id AS key, 'it is open and finished at once' AS sentence
FROM {schema}.workflow_open AS o JOIN {schema}.workflow_done AS d ON d.workflow_id = o.workflow_id
LIMIT $1;
