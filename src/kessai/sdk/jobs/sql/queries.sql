-- name: run_insert
INSERT INTO {schema}.job_run
    (name, business_date, attempt, workflow_id, dry_run, state, done, note, started_at, updated_at)
SELECT u.name, u.business_date, u.attempt, u.workflow_id, u.dry_run, 'RUNNING', 0, '', u.started_at, u.started_at
FROM (
    SELECT unnest($1::text[]) AS name, unnest($2::date[]) AS business_date, unnest($3::int[]) AS attempt,
        unnest($4::text[]) AS workflow_id, unnest($5::boolean[]) AS dry_run, unnest($6::timestamptz[]) AS started_at
) AS u
ON CONFLICT (name, business_date, attempt) DO NOTHING
RETURNING name;

-- name: run_progress
UPDATE {schema}.job_run SET done = $4::bigint, total = $5::bigint, note = $6::text, updated_at = $7::timestamptz
WHERE name = $1::text AND business_date = $2::date AND attempt = $3::int AND state = 'RUNNING';

-- name: run_end
UPDATE {schema}.job_run
SET state = $4::text, done = $5::bigint, note = $6::text, updated_at = $7::timestamptz, ended_at = $7::timestamptz
WHERE name = $1::text AND business_date = $2::date AND attempt = $3::int AND state = 'RUNNING';

-- name: runs_of_day
SELECT name, business_date, attempt, workflow_id, dry_run, state, done, total, note, started_at, updated_at, ended_at
FROM {schema}.job_run WHERE name = $1::text AND business_date = $2::date
ORDER BY attempt DESC;

-- name: runs_open
SELECT name, business_date, attempt, workflow_id, dry_run, state, done, total, note, started_at, updated_at, ended_at
FROM {schema}.job_run WHERE name = ANY($1::text[]) AND state = 'RUNNING'
ORDER BY business_date, name, attempt;

-- name: runs_newest
SELECT r.name, r.business_date, r.attempt, r.workflow_id, r.dry_run, r.state, r.done, r.total, r.note, r.started_at,
    r.updated_at, r.ended_at, o.workflow_id IS NOT NULL AS is_open, o.parked_error
FROM {schema}.job_run AS r LEFT JOIN {schema}.workflow_open AS o ON o.workflow_id = r.workflow_id
WHERE ($1::text IS NULL OR r.name = $1::text)
ORDER BY r.business_date DESC, r.started_at DESC, r.name, r.attempt DESC
LIMIT $2::int;

-- name: due_create
INSERT INTO {schema}.job_due (name, next_on)
SELECT u.name, u.next_on
FROM (SELECT unnest($1::text[]) AS name, unnest($2::date[]) AS next_on) AS u
ON CONFLICT (name) DO NOTHING;

-- name: due_read
SELECT name, next_on FROM {schema}.job_due WHERE name = ANY($1::text[]);

-- name: due_move
UPDATE {schema}.job_due SET next_on = $3::date WHERE name = $1::text AND next_on = $2::date
RETURNING name;

-- name: due_pass
WITH moved AS (
    UPDATE {schema}.job_due SET next_on = $3::date WHERE name = $1::text AND next_on = $2::date
    RETURNING name
)
INSERT INTO {schema}.job_idle (name, first_day, last_day, looked_at)
SELECT m.name, $4::date, $5::date, $6::timestamptz
FROM moved AS m
ON CONFLICT (name, first_day) DO NOTHING
RETURNING name;

-- name: idle_newest
SELECT name, first_day, last_day, looked_at
FROM {schema}.job_idle
WHERE $1::text IS NULL OR name = $1::text
ORDER BY last_day DESC, looked_at DESC, name
LIMIT $2::int;
