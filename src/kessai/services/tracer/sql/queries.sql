-- name: insert_touches
INSERT INTO tracer.touch (touch_id, source, entry, payload, recorded_at)
SELECT u.touch_id, u.source, u.entry, u.payload, $5::timestamptz
FROM unnest($1::uuid[], $2::text[], $3::boolean[], $4::bytea[]) AS u (touch_id, source, entry, payload);

-- name: list_touches
SELECT touch_id, source, entry, payload FROM tracer.touch ORDER BY touch_id LIMIT $1::int;

-- name: delete_touches
DELETE FROM tracer.touch WHERE touch_id = ANY ($1::uuid[]) RETURNING touch_id;

-- name: touch_processings
INSERT INTO tracer.processing AS p
    (processing_id, entry, participants, revision, verdict, found, opened_at, touched_at, due_at)
SELECT u.processing_id, u.entry, string_to_array(u.participants, ' '), 1, 'PENDING', false, $4, $4, $5
FROM unnest($1::text[], $2::text[], $3::text[]) AS u (processing_id, entry, participants)
ON CONFLICT (processing_id) DO UPDATE SET
    entry = coalesce(p.entry, excluded.entry),
    participants = CASE WHEN p.participants @> excluded.participants THEN p.participants ELSE
        ARRAY (SELECT n.name FROM unnest(p.participants || excluded.participants) AS n (name)
            GROUP BY n.name ORDER BY n.name) END,
    revision = p.revision + 1,
    verdict = 'PENDING',
    touched_at = excluded.touched_at,
    due_at = excluded.due_at
RETURNING processing_id, participants, revision;

-- name: add_notices
WITH moved AS (
    INSERT INTO tracer.participant AS p (name, head, acknowledged, seen_at)
    SELECT u.name, u.size, 0, $7::timestamptz
    FROM unnest($1::text[], $2::bigint[]) AS u (name, size)
    ON CONFLICT (name) DO UPDATE SET head = p.head + excluded.head
    RETURNING name, head
)
INSERT INTO tracer.notice (participant, last_position, first_position, payload, recorded_at)
SELECT u.participant, m.head - u.after, m.head - u.after - u.size + 1, u.payload, $7::timestamptz
FROM unnest($3::text[], $4::bigint[], $5::bigint[], $6::bytea[]) AS u (participant, after, size, payload)
JOIN moved AS m ON m.name = u.participant;

-- name: notices_after
SELECT last_position, first_position, payload
FROM tracer.notice
WHERE participant = $1::text AND last_position > $2::bigint AND last_position <= $3::bigint
ORDER BY last_position;

-- name: participant_standing
SELECT head, acknowledged FROM tracer.participant WHERE name = $1::text;

-- name: list_participants
SELECT name, head, acknowledged, seen_at FROM tracer.participant ORDER BY name;

-- name: acknowledge
INSERT INTO tracer.participant AS p (name, head, acknowledged, seen_at)
SELECT u.name, 0, 0, $3::timestamptz
FROM unnest($1::text[], $2::bigint[]) AS u (name, position)
ON CONFLICT (name) DO UPDATE SET
    acknowledged = greatest(p.acknowledged, least(p.head, (SELECT max(u.position)
        FROM unnest($1::text[], $2::bigint[]) AS u (name, position) WHERE u.name = p.name))),
    seen_at = excluded.seen_at;

-- name: forget_notices
DELETE FROM tracer.notice AS n USING tracer.participant AS p
WHERE n.participant = p.name AND n.last_position <= p.acknowledged AND n.recorded_at < $1::timestamptz;

-- name: lock_processings
SELECT processing_id, entry, participants, revision, verdict, found, due_at
FROM tracer.processing
WHERE processing_id = ANY ($1::text[])
ORDER BY processing_id
FOR NO KEY UPDATE;

-- name: standing_reports
SELECT r.processing_id, r.participant, r.final, r.outcome, r.digest, r.dependencies, r.callers
FROM unnest($1::text[], $2::bigint[]) AS u (processing_id, revision)
JOIN tracer.report AS r ON r.processing_id = u.processing_id AND r.revision = u.revision;

-- name: insert_reports
INSERT INTO tracer.report (processing_id, revision, participant, final, outcome, digest, effects_digest, dependencies,
    callers, subject, body, reported_at)
SELECT u.processing_id, u.revision, u.participant, u.outcome <> 'IN_FLIGHT', u.outcome, u.digest, u.effects_digest,
    string_to_array(u.dependencies, ' '), string_to_array(u.callers, chr(31)), u.subject, u.body, $10::timestamptz
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::bytea[], $7::text[], $8::text[],
    $9::text[], $11::bytea[])
    AS u (processing_id, revision, participant, outcome, digest, effects_digest, dependencies, callers, subject, body);

-- name: change_processings
UPDATE tracer.processing AS p
SET participants = string_to_array(u.participants, ' '), verdict = u.verdict, found = u.found, due_at = u.due_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::timestamptz[])
    AS u (processing_id, participants, verdict, found, due_at)
WHERE p.processing_id = u.processing_id;

-- name: lock_head
SELECT batch, seal FROM tracer.seal_head WHERE chain = $1::text FOR NO KEY UPDATE;

-- name: insert_verdicts
WITH moved AS (
    UPDATE tracer.seal_head SET batch = $2::bigint, seal = $5::bytea
    WHERE chain = $1::text AND batch = $2::bigint - 1
    RETURNING batch
), sealed AS (
    INSERT INTO tracer.seal (chain, batch, leaves, root, seal, sealed_at)
    SELECT $1::text, m.batch, $3::bytea, $4::bytea, $5::bytea, $6::timestamptz FROM moved AS m
    RETURNING batch
)
INSERT INTO tracer.verdict (processing_id, revision, verdict, late, reports, undeclared, batch, leaf, decided_at)
SELECT u.processing_id, u.revision, u.verdict, string_to_array(u.late, ' '), u.reports, u.undeclared, s.batch,
    u.leaf, $6::timestamptz
FROM sealed AS s, unnest($7::text[], $8::bigint[], $9::text[], $10::text[], $11::bytea[], $12::bytea[], $13::int[])
    AS u (processing_id, revision, verdict, late, reports, undeclared, leaf);

-- name: count_day
INSERT INTO tracer.tally AS t (day, name, count)
SELECT $1::date, u.name, u.count
FROM unnest($2::text[], $3::bigint[]) AS u (name, count)
ON CONFLICT (day, name) DO UPDATE SET count = t.count + excluded.count;

-- name: overdue_processings
SELECT processing_id, revision
FROM tracer.processing
WHERE verdict = 'PENDING' AND due_at <= $1::timestamptz AND touched_at <= $1::timestamptz
ORDER BY touched_at, processing_id
LIMIT $2::int;

-- name: load_processing
SELECT processing_id, entry, participants, revision, verdict, found, opened_at, touched_at, due_at
FROM tracer.processing
WHERE processing_id = $1::text;

-- name: present_verdicts
SELECT p.processing_id, p.verdict, p.revision, v.decided_at
FROM tracer.processing AS p
LEFT JOIN tracer.verdict AS v
    ON v.processing_id = p.processing_id AND v.revision = p.revision AND v.verdict = p.verdict
WHERE p.processing_id = ANY ($1::text[])
ORDER BY p.processing_id;

-- name: reports_of
SELECT processing_id, revision, participant, final, outcome, digest, effects_digest, dependencies, callers, body,
    reported_at
FROM tracer.report
WHERE processing_id = $1::text
ORDER BY revision, participant, final;

-- name: verdicts_of
SELECT processing_id, revision, verdict, late, reports, undeclared, batch, leaf, decided_at, retired_at
FROM tracer.verdict
WHERE processing_id = $1::text
ORDER BY revision, decided_at;

-- name: processing_of_subject
SELECT processing_id FROM tracer.report WHERE subject = $1::text LIMIT 1;

-- name: processings_by_age
SELECT processing_id, entry, participants, revision, verdict, found, opened_at, touched_at, due_at
FROM tracer.processing
WHERE verdict = $1::text AND (touched_at, processing_id) > ($2::timestamptz, $3::text) AND touched_at <= $4::timestamptz
ORDER BY touched_at, processing_id
LIMIT $5::int;

-- name: tallies
SELECT day, name, count FROM tracer.tally WHERE day BETWEEN $1::date AND $2::date ORDER BY day, name;

-- name: seals_from
SELECT batch, leaves, root, seal, sealed_at
FROM tracer.seal
WHERE chain = $1::text AND batch >= $2::bigint
ORDER BY batch
LIMIT $3::int;

-- name: seals_named
SELECT batch, leaves, root, seal, sealed_at FROM tracer.seal WHERE chain = $1::text AND batch = ANY ($2::bigint[]);

-- name: head_of_chain
SELECT batch, seal FROM tracer.seal_head WHERE chain = $1::text;

-- name: processings_from
SELECT processing_id, revision, verdict FROM tracer.processing
WHERE processing_id > $1::text
ORDER BY processing_id
LIMIT $2::int;

-- name: verdicts_between
SELECT processing_id, revision, verdict, late, reports, undeclared, batch, leaf, decided_at, retired_at
FROM tracer.verdict
WHERE processing_id >= $1::text AND processing_id <= $2::text
ORDER BY processing_id, revision, decided_at;

-- name: count_verdicts
SELECT count(*) AS verdicts FROM tracer.verdict;

-- name: reports_between
SELECT processing_id, revision, participant, final, outcome, digest, effects_digest, dependencies, callers, body,
    reported_at
FROM tracer.report
WHERE processing_id >= $1::text AND processing_id <= $2::text
ORDER BY processing_id, revision, participant, final;

-- name: lock_findings
SELECT finding_id, processing_id, kind, state, version, revision, assignee, opened_at, changed_at
FROM tracer.finding
WHERE finding_id = ANY ($1::uuid[])
ORDER BY finding_id
FOR NO KEY UPDATE;

-- name: write_findings
INSERT INTO tracer.finding AS f
    (finding_id, processing_id, kind, state, version, revision, assignee, opened_at, changed_at)
SELECT u.finding_id, u.processing_id, u.kind, u.state, u.version, u.revision, u.assignee, $8::timestamptz,
    $8::timestamptz
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
    AS u (finding_id, processing_id, kind, state, version, revision, assignee)
ON CONFLICT (finding_id) DO UPDATE SET kind = excluded.kind, state = excluded.state, version = excluded.version,
    revision = excluded.revision, assignee = excluded.assignee, changed_at = excluded.changed_at
WHERE f.version = excluded.version - 1
RETURNING finding_id;

-- name: insert_finding_steps
INSERT INTO tracer.finding_step
    (finding_id, sequence, state, acted_by, reason, assignee, repair_kind, repair_id, recorded_at)
SELECT u.finding_id, u.sequence, u.state, u.acted_by, u.reason, u.assignee, u.repair_kind, u.repair_id,
    $9::timestamptz
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    AS u (finding_id, sequence, state, acted_by, reason, assignee, repair_kind, repair_id);

-- name: load_findings
SELECT finding_id, processing_id, kind, state, version, revision, assignee, opened_at, changed_at
FROM tracer.finding
WHERE finding_id = ANY ($1::uuid[]);

-- name: finding_steps_of
SELECT finding_id, sequence, state, acted_by, reason, assignee, repair_kind, repair_id, recorded_at
FROM tracer.finding_step
WHERE finding_id = ANY ($1::uuid[])
ORDER BY finding_id, sequence;

-- name: findings_by_age
SELECT finding_id, processing_id, kind, state, version, revision, assignee, opened_at, changed_at
FROM tracer.finding
WHERE state = $1::text AND (opened_at, finding_id) > ($2::timestamptz, $3::uuid)
ORDER BY opened_at, finding_id
LIMIT $4::int;
