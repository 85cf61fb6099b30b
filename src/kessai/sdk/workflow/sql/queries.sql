-- name: flush_fence
SELECT epoch FROM {schema}.lease WHERE name = $1::text AND holder = $2::text AND epoch = $3::bigint FOR SHARE;

-- name: flush_claim
INSERT INTO {schema}.workflow_claim (workflow_id, claimed_at)
SELECT u.workflow_id, $2::timestamptz FROM unnest($1::text[]) AS u (workflow_id)
WHERE NOT EXISTS (SELECT d.workflow_id FROM {schema}.workflow_done AS d WHERE d.workflow_id = u.workflow_id)
ON CONFLICT (workflow_id) DO NOTHING
RETURNING workflow_id;

-- name: claim_anew
INSERT INTO {schema}.workflow_claim (workflow_id, claimed_at)
SELECT u.workflow_id, $2::timestamptz FROM unnest($1::text[]) AS u (workflow_id)
ON CONFLICT (workflow_id) DO UPDATE SET claimed_at = excluded.claimed_at;

-- name: open_insert
INSERT INTO {schema}.workflow_open
    (workflow_id, name, version, digest, request, call, writes, started_at, deadline_at, executor_id, compensating)
SELECT u.workflow_id, u.name, u.version, u.digest, u.request, u.call, u.writes, u.started_at, u.deadline_at, $10::text,
    false
FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::bytea[], $6::bytea[], $7::int[], $8::timestamptz[],
    $9::timestamptz[])
    AS u (workflow_id, name, version, digest, request, call, writes, started_at, deadline_at)
ON CONFLICT (workflow_id) DO NOTHING
RETURNING workflow_id;

-- name: open_delete
DELETE FROM {schema}.workflow_open WHERE workflow_id = ANY($1::text[]) AND executor_id = $2::text
RETURNING workflow_id;

-- name: done_insert
INSERT INTO {schema}.workflow_done
    (workflow_id, name, version, digest, failed, outcome, steps, started_at, finished_at)
SELECT u.workflow_id, u.name, u.version, u.digest, u.failed, u.outcome, u.steps, u.started_at, u.finished_at
FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::boolean[], $6::bytea[], $7::bytea[], $8::timestamptz[],
    $9::timestamptz[])
    AS u (workflow_id, name, version, digest, failed, outcome, steps, started_at, finished_at);

-- name: flush_end
-- What each guard counted takes the place of the last parameter.
INSERT INTO {schema}.workflow_flush (executor_id, number, expected, verified)
VALUES ($1::text, $2::bigint, $3::int[], $4::int[]);

-- name: log_insert
INSERT INTO {schema}.workflow_log
    (workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at)
SELECT u.workflow_id, u.seq, u.kind, u.name, u.argument_hash, u.failed, u.outcome, u.writes, u.recorded_at
FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::bytea[], $6::boolean[], $7::bytea[], $8::int[],
    $9::timestamptz[])
    AS u (workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at);

-- name: mark
UPDATE {schema}.workflow_open SET compensating = u.compensating, parked_error = u.parked_error, writes = u.writes
FROM unnest($1::text[], $2::boolean[], $3::text[], $4::int[]) AS u (workflow_id, compensating, parked_error, writes)
WHERE workflow_open.workflow_id = u.workflow_id;

-- name: taken
SELECT workflow_id FROM {schema}.workflow_done WHERE workflow_id = ANY($1::text[])
UNION ALL
SELECT workflow_id FROM {schema}.workflow_open WHERE workflow_id = ANY($1::text[])
UNION ALL
SELECT workflow_id FROM {schema}.workflow_claim WHERE workflow_id = ANY($1::text[]);

-- name: owned
SELECT workflow_id FROM {schema}.workflow_open WHERE workflow_id = ANY($1::text[]) AND executor_id = $2::text;

-- name: flush_void
INSERT INTO {schema}.workflow_flush (executor_id, number, void) VALUES ($1::text, $2::bigint, true)
ON CONFLICT (executor_id, number) DO NOTHING;

-- name: flush_seen
SELECT number FROM {schema}.workflow_flush WHERE executor_id = $1::text AND number = $2::bigint AND NOT void;

-- name: flush_forget
DELETE FROM {schema}.workflow_flush WHERE executor_id = $1::text AND number < $2::bigint AND NOT void;

-- name: claims_forget
DELETE FROM {schema}.workflow_claim
WHERE workflow_id IN (SELECT c.workflow_id FROM {schema}.workflow_claim AS c WHERE c.claimed_at < $1::timestamptz LIMIT $2::int)
RETURNING workflow_id;

-- name: find_done
SELECT name, version, digest, failed, outcome FROM {schema}.workflow_done WHERE workflow_id = $1::text;

-- name: find_open
SELECT name, version, digest, executor_id, parked_error FROM {schema}.workflow_open WHERE workflow_id = $1::text;

-- name: drop_lapsed
DELETE FROM {schema}.lease
WHERE name = ANY($1::text[]) AND lease_until <= $2::timestamptz
RETURNING holder;

-- name: lapsed
SELECT name FROM {schema}.lease WHERE starts_with(name, 'workflow/') AND lease_until <= $1::timestamptz LIMIT 100;

-- name: forget_executors
DELETE FROM {schema}.workflow_flush WHERE executor_id = ANY($1::text[]);

-- name: orphaned
SELECT DISTINCT o.executor_id FROM {schema}.workflow_open AS o
WHERE o.parked_error IS NULL AND NOT EXISTS (SELECT l.name FROM {schema}.lease AS l WHERE l.name = 'workflow/' || o.executor_id);

-- name: adopt
UPDATE {schema}.workflow_open SET executor_id = $1::text
WHERE executor_id = ANY($2::text[]) AND parked_error IS NULL
RETURNING workflow_id, name, version, digest, request, call, compensating, writes, started_at, deadline_at;

-- name: logs_of
SELECT workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at
FROM {schema}.workflow_log WHERE workflow_id = ANY($1::text[]) ORDER BY workflow_id, seq, kind;

-- name: parked_list
SELECT workflow_id, name, version, compensating, parked_error
FROM {schema}.workflow_open WHERE parked_error IS NOT NULL ORDER BY workflow_id LIMIT $1::int;

-- name: unpark
UPDATE {schema}.workflow_open SET parked_error = NULL, executor_id = $2::text
WHERE workflow_id = $1::text AND parked_error IS NOT NULL
RETURNING workflow_id;
