-- name: message_turn
-- The lock lets its senders arrive one after the other, and waits for whoever is just letting it rest.
SELECT wake_at IS NOT NULL AS resting FROM {schema}.workflow_open WHERE workflow_id = $1::text FOR UPDATE;

-- name: message_send
INSERT INTO {schema}.workflow_inbox (workflow_id, message_id, kind, name, payload, sent_at, consumed, arrival)
SELECT $1::text, $2::text, $3::smallint, $4::text, $5::bytea, $6::timestamptz, false,
    1 + coalesce((SELECT max(i.arrival) FROM {schema}.workflow_inbox AS i WHERE i.workflow_id = $1::text), 0)
ON CONFLICT (workflow_id, message_id) DO NOTHING
RETURNING message_id;

-- name: message_wakes
UPDATE {schema}.workflow_open SET wake_at = $2::timestamptz WHERE workflow_id = $1::text AND wake_at > $2::timestamptz;

-- name: message_find
SELECT consumed FROM {schema}.workflow_inbox WHERE workflow_id = $1::text AND message_id = $2::text;

-- name: messages_take
UPDATE {schema}.workflow_inbox SET seen_by = $1::text
FROM {schema}.workflow_open AS o
WHERE o.workflow_id = workflow_inbox.workflow_id AND o.executor_id = $1::text
    AND NOT workflow_inbox.consumed
    AND (workflow_inbox.seen_by IS DISTINCT FROM $1::text OR workflow_inbox.workflow_id = ANY($2::text[]))
RETURNING workflow_inbox.workflow_id, workflow_inbox.message_id, workflow_inbox.kind, workflow_inbox.name,
    workflow_inbox.payload, workflow_inbox.sent_at, workflow_inbox.arrival;

-- name: messages_take_queued
UPDATE {schema}.workflow_inbox SET seen_by = $1::text
WHERE workflow_id = ANY($2::text[]) AND NOT consumed
RETURNING workflow_id, message_id, kind, name, payload, sent_at, arrival;

-- name: message_consume
UPDATE {schema}.workflow_inbox SET consumed = true
FROM unnest($1::text[], $2::text[]) AS u (workflow_id, message_id)
WHERE workflow_inbox.workflow_id = u.workflow_id AND workflow_inbox.message_id = u.message_id;

-- name: messages_of
SELECT message_id, kind, name, sent_at, consumed FROM {schema}.workflow_inbox
WHERE workflow_id = $1::text ORDER BY arrival, sent_at, message_id LIMIT 1000;

-- name: answer_insert
INSERT INTO {schema}.workflow_answer (workflow_id, message_id, failed, outcome, answered_at)
SELECT u.workflow_id, u.message_id, u.failed, u.outcome, u.answered_at
FROM unnest($1::text[], $2::text[], $3::boolean[], $4::bytea[], $5::timestamptz[])
    AS u (workflow_id, message_id, failed, outcome, answered_at)
ON CONFLICT (workflow_id, message_id) DO NOTHING;

-- name: answer_find
SELECT failed, outcome FROM {schema}.workflow_answer WHERE workflow_id = $1::text AND message_id = $2::text;

-- name: stuck_upsert
INSERT INTO {schema}.workflow_stuck (workflow_id, seq, kind, name, argument_hash, error, stuck_at)
SELECT u.workflow_id, u.seq, u.kind, u.name, u.argument_hash, u.error, u.stuck_at
FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::bytea[], $6::text[], $7::timestamptz[])
    AS u (workflow_id, seq, kind, name, argument_hash, error, stuck_at)
ON CONFLICT (workflow_id) DO UPDATE SET seq = EXCLUDED.seq, kind = EXCLUDED.kind, name = EXCLUDED.name,
    argument_hash = EXCLUDED.argument_hash, error = EXCLUDED.error, stuck_at = EXCLUDED.stuck_at;

-- name: stuck_find
SELECT seq, kind, name, argument_hash, error, stuck_at FROM {schema}.workflow_stuck WHERE workflow_id = $1::text;

-- name: stuck_delete
DELETE FROM {schema}.workflow_stuck WHERE workflow_id = $1::text;

-- name: audit_insert
INSERT INTO {schema}.workflow_audit (workflow_id, audit_id, verb, who, why, detail, acted_at)
VALUES ($1::text, $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::timestamptz);

-- name: audit_of
SELECT verb, who, why, detail, acted_at FROM {schema}.workflow_audit
WHERE workflow_id = $1::text ORDER BY audit_id LIMIT 1000;

-- name: attribute_upsert
INSERT INTO {schema}.workflow_attribute (workflow_id, name, value, number)
SELECT DISTINCT ON (u.workflow_id, u.name) u.workflow_id, u.name, u.value, u.number
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY
    AS u (workflow_id, name, value, number, ordinal)
ORDER BY u.workflow_id, u.name, u.ordinal DESC
ON CONFLICT (workflow_id, name) DO UPDATE SET value = EXCLUDED.value, number = EXCLUDED.number;

-- name: attributes_of
SELECT name, value FROM {schema}.workflow_attribute WHERE workflow_id = $1::text ORDER BY name;

-- name: search_by_values
SELECT a.workflow_id FROM {schema}.workflow_attribute AS a
WHERE a.name = $1::text AND a.value = $2::text AND a.workflow_id > $3::text
    AND (
        SELECT count(*) FROM unnest($4::text[], $5::text[]) AS w (name, value)
        JOIN {schema}.workflow_attribute AS b ON b.workflow_id = a.workflow_id AND b.name = w.name AND b.value = w.value
    ) = cardinality($4::text[])
ORDER BY a.workflow_id LIMIT $6::int;

-- name: search_by_number
SELECT workflow_id FROM {schema}.workflow_attribute
WHERE name = $1::text AND number BETWEEN $2::bigint AND $3::bigint AND workflow_id > $4::text
ORDER BY workflow_id LIMIT $5::int;

-- name: heartbeat_upsert
INSERT INTO {schema}.workflow_heartbeat (workflow_id, seq, progress, beaten_at)
SELECT u.workflow_id, u.seq, u.progress, u.beaten_at
FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::timestamptz[]) AS u (workflow_id, seq, progress, beaten_at)
ON CONFLICT (workflow_id, seq) DO UPDATE SET progress = EXCLUDED.progress, beaten_at = EXCLUDED.beaten_at;

-- name: belongings
SELECT 'heartbeat' AS kind, h.workflow_id, h.seq, '' AS name, h.progress AS data
FROM {schema}.workflow_heartbeat AS h WHERE h.workflow_id = ANY($1::text[])
UNION ALL
SELECT 'fork' AS kind, f.workflow_id, 0 AS seq, f.forked_from AS name, f.origins AS data
FROM {schema}.workflow_fork AS f WHERE f.workflow_id = ANY($1::text[])
UNION ALL
SELECT 'queue' AS kind, q.workflow_id, 0 AS seq, q.queue AS name, q.digest AS data
FROM {schema}.workflow_queued AS q WHERE q.workflow_id = ANY($1::text[]);

-- name: activity_in_transaction
INSERT INTO {schema}.workflow_log
    (workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at, started_at)
VALUES ($1::text, $2::bigint, $3::smallint, $4::text, $5::bytea, $6::boolean, $7::bytea, $8::int, $9::timestamptz,
    $10::timestamptz);

-- name: activity_found
SELECT failed, outcome, recorded_at FROM {schema}.workflow_log
WHERE workflow_id = $1::text AND seq = $2::bigint AND kind = 1 AND started_at = $3::timestamptz;

-- name: log_of
SELECT workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at
FROM {schema}.workflow_log WHERE workflow_id = $1::text ORDER BY seq, kind;

-- name: log_insert_one
INSERT INTO {schema}.workflow_log
    (workflow_id, seq, kind, name, argument_hash, failed, outcome, writes, recorded_at, started_at)
VALUES ($1::text, $2::bigint, $3::smallint, $4::text, $5::bytea, $6::boolean, $7::bytea, $8::int, $9::timestamptz,
    $10::timestamptz);

-- name: log_replace
UPDATE {schema}.workflow_log SET failed = $4::boolean, outcome = $5::bytea
WHERE workflow_id = $1::text AND seq = $2::bigint AND kind = $3::smallint
RETURNING seq;

-- name: open_one
SELECT workflow_id, name, version, digest, request, call, executor_id, compensating, writes, started_at, deadline_at,
    parked_error
FROM {schema}.workflow_open WHERE workflow_id = $1::text;

-- name: done_one
SELECT workflow_id, name, version, digest, failed, outcome, steps, started_at, finished_at
FROM {schema}.workflow_done WHERE workflow_id = $1::text;

-- name: taken_one
SELECT workflow_id, started_at FROM {schema}.workflow_taken WHERE workflow_id = $1::text;

-- name: is_known
SELECT EXISTS (SELECT t.workflow_id FROM {schema}.workflow_taken AS t WHERE t.workflow_id = $1::text)
    OR EXISTS (SELECT q.workflow_id FROM {schema}.workflow_queued AS q WHERE q.workflow_id = $1::text) AS known;

-- name: list_open
SELECT workflow_id, name, version, compensating, parked_error, started_at
FROM {schema}.workflow_open
WHERE workflow_id > $1::text AND ($2::text IS NULL OR name = $2::text)
    AND ($3::boolean IS NULL OR (parked_error IS NOT NULL) = $3::boolean)
ORDER BY workflow_id LIMIT $4::int;

-- name: list_done
SELECT workflow_id, name, version, failed, started_at, finished_at
FROM {schema}.workflow_done
WHERE workflow_id > $1::text AND ($2::text IS NULL OR name = $2::text)
ORDER BY workflow_id LIMIT $3::int;

-- name: list_queued
SELECT workflow_id, queue, name, version, queued_at, executor_id
FROM {schema}.workflow_queued
WHERE workflow_id > $1::text AND ($2::text IS NULL OR name = $2::text) AND executor_id IS NULL
ORDER BY workflow_id LIMIT $3::int;

-- name: queue_one
SELECT workflow_id, queue, name, version, queued_at, executor_id
FROM {schema}.workflow_queued WHERE workflow_id = $1::text;

-- name: counts
SELECT (SELECT count(*) FROM {schema}.workflow_open) AS open,
    (SELECT count(*) FROM {schema}.workflow_open WHERE parked_error IS NOT NULL) AS parked,
    (SELECT count(*) FROM {schema}.workflow_queued WHERE executor_id IS NULL) AS queued;

-- name: fork_claim
INSERT INTO {schema}.workflow_taken (workflow_id, digest, started_at)
VALUES ($1::text, $2::bytea, $3::timestamptz)
ON CONFLICT (workflow_id) DO NOTHING
RETURNING workflow_id;

-- name: fork_open
INSERT INTO {schema}.workflow_open
    (workflow_id, name, version, digest, request, call, executor_id, compensating, writes, started_at, deadline_at)
VALUES ($1::text, $2::text, $3::int, $4::bytea, $5::bytea, $6::bytea, $7::text, false, $8::int, $9::timestamptz,
    $10::timestamptz);

-- name: fork_insert
INSERT INTO {schema}.workflow_fork (workflow_id, forked_from, origins) VALUES ($1::text, $2::text, $3::bytea);

-- name: fork_find
SELECT forked_from, origins FROM {schema}.workflow_fork WHERE workflow_id = $1::text;

-- name: queue_create
INSERT INTO {schema}.workflow_queue (queue, tokens_milli, refilled_at)
VALUES ($1::text, $2::bigint, $3::timestamptz)
ON CONFLICT (queue) DO NOTHING;

-- name: queue_turn
SELECT tokens_milli, refilled_at FROM {schema}.workflow_queue WHERE queue = $1::text FOR UPDATE;

-- name: queue_tokens
UPDATE {schema}.workflow_queue SET tokens_milli = $2::bigint, refilled_at = $3::timestamptz WHERE queue = $1::text;

-- name: queue_put
INSERT INTO {schema}.workflow_queued
    (queue, workflow_id, key, priority, name, version, digest, request, call, not_before, queued_at)
SELECT u.queue, u.workflow_id, u.key, u.priority, u.name, u.version, u.digest, u.request, u.call, u.not_before, u.queued_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::text[], $6::int[], $7::bytea[], $8::bytea[], $9::bytea[],
    $10::timestamptz[], $11::timestamptz[])
    AS u (queue, workflow_id, key, priority, name, version, digest, request, call, not_before, queued_at)
WHERE NOT EXISTS (SELECT t.workflow_id FROM {schema}.workflow_taken AS t WHERE t.workflow_id = u.workflow_id)
ON CONFLICT (queue, workflow_id) DO NOTHING
RETURNING workflow_id;

-- name: queue_find
SELECT queue, name, version, digest FROM {schema}.workflow_queued WHERE workflow_id = $1::text;

-- name: queue_running
SELECT key, executor_id, count(*) AS running FROM {schema}.workflow_queued
WHERE queue = $1::text AND executor_id IS NOT NULL GROUP BY key, executor_id;

-- name: queue_waiting
SELECT workflow_id, key, name, version, digest, request, call FROM {schema}.workflow_queued
WHERE queue = $1::text AND executor_id IS NULL AND not_before <= $2::timestamptz AND NOT (key = ANY($3::text[]))
ORDER BY priority, queued_at, workflow_id LIMIT $4::int;

-- name: queue_claim
UPDATE {schema}.workflow_queued SET executor_id = $2::text
WHERE queue = $1::text AND workflow_id = ANY($3::text[]) AND executor_id IS NULL;

-- name: queue_unclaim
UPDATE {schema}.workflow_queued SET executor_id = NULL
WHERE queue = $1::text AND workflow_id = $2::text AND executor_id = $3::text;

-- name: queue_adopt
UPDATE {schema}.workflow_queued SET executor_id = $1::text WHERE workflow_id = ANY($2::text[]);

-- name: queue_release
-- Claimed, and not begun: by an executor that is gone, or by this one, which was never told that its claim came through.
UPDATE {schema}.workflow_queued SET executor_id = NULL
WHERE queue = ANY($1::text[]) AND executor_id IS NOT NULL
    AND NOT EXISTS (SELECT o.workflow_id FROM {schema}.workflow_open AS o WHERE o.workflow_id = workflow_queued.workflow_id)
    AND (
        (executor_id = $2::text AND NOT (workflow_id = ANY($3::text[])))
        OR NOT EXISTS (SELECT l.name FROM {schema}.lease AS l WHERE l.name = 'workflow/' || workflow_queued.executor_id)
    );

-- name: queue_leave
DELETE FROM {schema}.workflow_queued USING unnest($1::text[], $2::text[]) AS u (queue, workflow_id)
WHERE workflow_queued.queue = u.queue AND workflow_queued.workflow_id = u.workflow_id;

-- name: queues_with_work
SELECT DISTINCT queue FROM {schema}.workflow_queued
WHERE queue = ANY($1::text[]) AND executor_id IS NULL AND not_before <= $2::timestamptz;

-- name: schedule_create
INSERT INTO {schema}.workflow_schedule (schedule, next_at, paused) VALUES ($1::text, $2::timestamptz, false)
ON CONFLICT (schedule) DO NOTHING;

-- name: schedules_read
SELECT schedule, next_at, last_id, paused FROM {schema}.workflow_schedule WHERE schedule = ANY($1::text[]);

-- name: schedule_move
UPDATE {schema}.workflow_schedule SET next_at = u.next_at, last_id = coalesce(u.last_id, workflow_schedule.last_id)
FROM unnest($1::text[], $2::timestamptz[], $3::timestamptz[], $4::text[]) AS u (schedule, expected_at, next_at, last_id)
WHERE workflow_schedule.schedule = u.schedule AND workflow_schedule.next_at = u.expected_at
    AND NOT workflow_schedule.paused
RETURNING workflow_schedule.schedule;

-- name: schedule_pause
UPDATE {schema}.workflow_schedule SET paused = $2::boolean, next_at = coalesce($3::timestamptz, next_at)
WHERE schedule = $1::text RETURNING schedule;

-- name: anything_orphaned
SELECT EXISTS (
    SELECT l.name FROM {schema}.lease AS l
    WHERE starts_with(l.name, 'workflow/') AND l.lease_until <= $1::timestamptz AND l.name <> $2::text
) OR EXISTS (
    SELECT o.workflow_id FROM {schema}.workflow_open AS o
    WHERE o.parked_error IS NULL AND o.wake_at IS NULL
        AND NOT EXISTS (SELECT l.name FROM {schema}.lease AS l WHERE l.name = 'workflow/' || o.executor_id)
) AS found,
    (SELECT count(*) FROM {schema}.workflow_open AS p WHERE p.parked_error IS NOT NULL AND NOT p.compensating) AS parked,
    (SELECT count(*) FROM {schema}.workflow_open AS s WHERE s.parked_error IS NOT NULL AND s.compensating) AS stuck,
    (SELECT min(r.wake_at) FROM {schema}.workflow_open AS r WHERE r.wake_at IS NOT NULL) AS wakes_at,
    (SELECT count(*) FROM {schema}.workflow_open AS m WHERE m.executor_id = $3::text AND m.parked_error IS NULL) AS mine;

-- name: partitions
SELECT c.relname::text AS name FROM pg_catalog.pg_inherits AS i JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = '{schema}.workflow_done'::regclass;

-- name: is_kept
-- Whether a workflow begun in this time is still open, or ended too short a while ago.
SELECT EXISTS (
    SELECT o.workflow_id FROM {schema}.workflow_open AS o
    WHERE o.started_at >= $1::timestamptz AND o.started_at < $2::timestamptz
) OR EXISTS (
    SELECT d.workflow_id FROM {schema}.workflow_done AS d
    WHERE d.started_at >= $1::timestamptz AND d.started_at < $2::timestamptz AND d.finished_at >= $3::timestamptz
) AS kept;

-- name: is_open_in
SELECT EXISTS (
    SELECT o.workflow_id FROM {schema}.workflow_open AS o
    WHERE o.started_at >= $1::timestamptz AND o.started_at < $2::timestamptz
) AS found;

-- name: count_done
SELECT count(*) AS done FROM {schema}.workflow_done WHERE started_at >= $1::timestamptz AND started_at < $2::timestamptz;

-- name: rest_before
SELECT workflow_id FROM {schema}.workflow_done_rest WHERE finished_at < $1::timestamptz LIMIT $2::int;

-- name: forget_done
DELETE FROM {schema}.workflow_done_rest WHERE workflow_id = ANY($1::text[]);

-- name: forget_log
DELETE FROM {schema}.workflow_log_rest WHERE workflow_id = ANY($1::text[]);

-- name: ids_before
SELECT t.workflow_id FROM {schema}.workflow_taken AS t
WHERE t.workflow_id > $1::text AND t.started_at < $2::timestamptz
    AND NOT EXISTS (SELECT o.workflow_id FROM {schema}.workflow_open AS o WHERE o.workflow_id = t.workflow_id)
    AND NOT EXISTS (
        SELECT d.workflow_id FROM {schema}.workflow_done AS d
        WHERE d.workflow_id = t.workflow_id AND d.started_at = t.started_at
    )
ORDER BY t.workflow_id LIMIT $3::int;

-- name: forget_ids
DELETE FROM {schema}.workflow_taken WHERE workflow_id = ANY($1::text[]);

-- name: forget_tokens
-- Of flushes of executors that are gone.
DELETE FROM {schema}.workflow_flush WHERE NOT EXISTS (
    SELECT l.name FROM {schema}.lease AS l WHERE l.name = 'workflow/' || workflow_flush.executor_id
);

-- name: forget_messages
DELETE FROM {schema}.workflow_inbox USING {schema}.workflow_done AS d
WHERE d.workflow_id = workflow_inbox.workflow_id AND d.started_at < $1::timestamptz AND d.finished_at < $1::timestamptz;

-- name: forget_answers
DELETE FROM {schema}.workflow_answer USING {schema}.workflow_done AS d
WHERE d.workflow_id = workflow_answer.workflow_id AND d.started_at < $1::timestamptz AND d.finished_at < $1::timestamptz;

-- name: forget_attributes
DELETE FROM {schema}.workflow_attribute USING {schema}.workflow_done AS d
WHERE d.workflow_id = workflow_attribute.workflow_id AND d.started_at < $1::timestamptz AND d.finished_at < $1::timestamptz;

-- name: forget_heartbeats
DELETE FROM {schema}.workflow_heartbeat USING {schema}.workflow_done AS d
WHERE d.workflow_id = workflow_heartbeat.workflow_id AND d.started_at < $1::timestamptz AND d.finished_at < $1::timestamptz;

-- name: forget_forks
DELETE FROM {schema}.workflow_fork USING {schema}.workflow_done AS d
WHERE d.workflow_id = workflow_fork.workflow_id AND d.started_at < $1::timestamptz AND d.finished_at < $1::timestamptz;

-- name: forget_stuck
DELETE FROM {schema}.workflow_stuck USING {schema}.workflow_done AS d
WHERE d.workflow_id = workflow_stuck.workflow_id AND d.started_at < $1::timestamptz AND d.finished_at < $1::timestamptz;
