-- name: flush_fence
SELECT epoch FROM {schema}.lease WHERE name = $1::text AND holder = $2::text AND epoch = $3::bigint FOR SHARE;

-- name: flush_take
INSERT INTO {schema}.workflow_taken (workflow_id, digest, started_at)
SELECT u.workflow_id, u.digest, u.started_at
FROM (
    SELECT unnest($1::text[]) AS workflow_id, unnest($2::bytea[]) AS digest, unnest($3::timestamptz[]) AS started_at
) AS u
ON CONFLICT (workflow_id) DO NOTHING
RETURNING workflow_id;

-- name: open_insert
INSERT INTO {schema}.workflow_open
    (workflow_id, name, version, digest, request, call, writes, started_at, deadline_at, executor_id, compensating)
SELECT u.workflow_id, u.name, u.version, u.digest, u.request, u.call, u.writes, u.started_at, u.deadline_at, $10::text,
    false
FROM (
    SELECT unnest($1::text[]) AS workflow_id, unnest($2::text[]) AS name, unnest($3::int[]) AS version,
        unnest($4::bytea[]) AS digest, unnest($5::bytea[]) AS request, unnest($6::bytea[]) AS call,
        unnest($7::int[]) AS writes, unnest($8::timestamptz[]) AS started_at, unnest($9::timestamptz[]) AS deadline_at
) AS u
ON CONFLICT (workflow_id) DO NOTHING
RETURNING workflow_id;

-- name: open_delete
DELETE FROM {schema}.workflow_open WHERE workflow_id = ANY($1::text[]) AND executor_id = $2::text
RETURNING workflow_id;

-- name: done_insert
INSERT INTO {schema}.workflow_done
    (workflow_id, name, version, digest, failed, outcome, steps, started_at, finished_at)
SELECT u.workflow_id, u.name, u.version, u.digest, u.failed, u.outcome, u.steps, u.started_at, u.finished_at
FROM (
    SELECT unnest($1::text[]) AS workflow_id, unnest($2::text[]) AS name, unnest($3::int[]) AS version,
        unnest($4::bytea[]) AS digest, unnest($5::boolean[]) AS failed, unnest($6::bytea[]) AS outcome,
        unnest($7::bytea[]) AS steps, unnest($8::timestamptz[]) AS started_at,
        unnest($9::timestamptz[]) AS finished_at
) AS u;

-- name: flush_end
-- What each guard counted takes the place of the last parameter.
INSERT INTO {schema}.workflow_flush (executor_id, number, expected, verified)
VALUES ($1::text, $2::bigint, $3::int[], $4::int[]);

-- name: log_insert
INSERT INTO {schema}.workflow_log
    (workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at, started_at)
SELECT u.workflow_id, u.seq, u.kind, u.name, u.argument_hash, u.failed, u.outcome, u.writes, u.recorded_at, u.started_at
FROM (
    SELECT unnest($1::text[]) AS workflow_id, unnest($2::bigint[]) AS seq, unnest($3::smallint[]) AS kind,
        unnest($4::text[]) AS name, unnest($5::bytea[]) AS argument_hash, unnest($6::boolean[]) AS failed,
        unnest($7::bytea[]) AS outcome, unnest($8::int[]) AS writes, unnest($9::timestamptz[]) AS recorded_at,
        unnest($10::timestamptz[]) AS started_at
) AS u;

-- name: mark
UPDATE {schema}.workflow_open SET compensating = u.compensating, parked_error = u.parked_error, writes = u.writes
FROM (
    SELECT unnest($1::text[]) AS workflow_id, unnest($2::boolean[]) AS compensating,
        unnest($3::text[]) AS parked_error, unnest($4::int[]) AS writes
) AS u
WHERE workflow_open.workflow_id = u.workflow_id;

-- name: taken
SELECT workflow_id FROM {schema}.workflow_taken WHERE workflow_id = ANY($1::text[]);

-- name: owned
SELECT workflow_id FROM {schema}.workflow_open WHERE workflow_id = ANY($1::text[]) AND executor_id = $2::text;

-- name: flush_void
INSERT INTO {schema}.workflow_flush (executor_id, number, void) VALUES ($1::text, $2::bigint, true)
ON CONFLICT (executor_id, number) DO NOTHING;

-- name: flush_seen
SELECT number FROM {schema}.workflow_flush WHERE executor_id = $1::text AND number = $2::bigint AND NOT void;

-- name: flush_forget
DELETE FROM {schema}.workflow_flush WHERE executor_id = $1::text AND number < $2::bigint AND NOT void;

-- name: find
-- Neither open nor done: its history is no longer kept.
SELECT t.digest, o.workflow_id IS NOT NULL AS is_open, o.parked_error, o.wake_at IS NOT NULL AS resting, coalesce(o.name, d.name, '') AS name,
    coalesce(o.version, d.version, 0) AS version, coalesce(d.failed, false) AS failed, coalesce(d.outcome, '') AS outcome
FROM {schema}.workflow_taken AS t
LEFT JOIN {schema}.workflow_open AS o ON o.workflow_id = t.workflow_id
LEFT JOIN {schema}.workflow_done AS d ON d.workflow_id = t.workflow_id AND d.started_at = t.started_at
WHERE t.workflow_id = $1::text;

-- name: drop_lapsed
-- Tokens of flushes stay for a day: an executor that stalled may yet ask what became of its last one.
DELETE FROM {schema}.lease WHERE name = ANY($1::text[]) AND lease_until <= $2::timestamptz;

-- name: lapsed
SELECT name FROM {schema}.lease WHERE starts_with(name, 'workflow/') AND lease_until <= $1::timestamptz LIMIT 100;

-- name: orphaned
SELECT DISTINCT o.executor_id FROM {schema}.workflow_open AS o
WHERE o.parked_error IS NULL AND o.wake_at IS NULL AND NOT EXISTS (SELECT l.name FROM {schema}.lease AS l WHERE l.name = 'workflow/' || o.executor_id);

-- name: adopt
UPDATE {schema}.workflow_open SET executor_id = $1::text
WHERE executor_id = ANY($2::text[]) AND parked_error IS NULL AND workflow_id IN (
    SELECT a.workflow_id FROM {schema}.workflow_open AS a
    WHERE a.executor_id = ANY($2::text[]) AND a.parked_error IS NULL ORDER BY a.workflow_id LIMIT $3::int
)
RETURNING workflow_id, name, version, digest, request, call, compensating, writes, started_at, deadline_at;

-- name: strays
SELECT workflow_id, name, version, digest, request, call, compensating, writes, started_at, deadline_at
FROM {schema}.workflow_open
WHERE executor_id = $1::text AND parked_error IS NULL AND NOT (workflow_id = ANY($2::text[]))
ORDER BY workflow_id LIMIT $3::int;

-- name: rest
UPDATE {schema}.workflow_open SET executor_id = $4::text, wake_at = u.wake_at
FROM unnest($1::text[], $2::timestamptz[]) AS u (workflow_id, wake_at)
WHERE workflow_open.workflow_id = u.workflow_id AND workflow_open.executor_id = $3::text
    AND workflow_open.parked_error IS NULL;

-- name: wake_addressed
UPDATE {schema}.workflow_open SET wake_at = $2::timestamptz
WHERE workflow_id = ANY($1::text[]) AND wake_at > $2::timestamptz AND EXISTS (
    SELECT i.message_id FROM {schema}.workflow_inbox AS i
    WHERE i.workflow_id = workflow_open.workflow_id AND NOT i.consumed AND i.seen_by IS DISTINCT FROM $3::text
);

-- name: wake
UPDATE {schema}.workflow_open SET executor_id = $1::text, wake_at = NULL
WHERE wake_at <= $2::timestamptz AND workflow_id IN (
    SELECT r.workflow_id FROM {schema}.workflow_open AS r WHERE r.wake_at <= $2::timestamptz ORDER BY r.wake_at LIMIT $3::int
)
RETURNING workflow_id, name, version, digest, request, call, compensating, writes, started_at, deadline_at;

-- name: logs_of
SELECT workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at
FROM {schema}.workflow_log
WHERE workflow_id = ANY($1::text[]) AND started_at BETWEEN $2::timestamptz AND $3::timestamptz
ORDER BY workflow_id, seq, kind;

-- name: parked_list
SELECT workflow_id, name, version, compensating, parked_error
FROM {schema}.workflow_open WHERE parked_error IS NOT NULL ORDER BY workflow_id LIMIT $1::int;

-- name: unpark
UPDATE {schema}.workflow_open SET parked_error = NULL, executor_id = $2::text
WHERE workflow_id = $1::text AND parked_error IS NOT NULL
RETURNING workflow_id;
