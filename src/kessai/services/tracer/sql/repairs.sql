-- name: findings_changed
SELECT finding_id, processing_id, kind, state, version, revision, assignee, opened_at, changed_at
FROM tracer.finding
WHERE state = 'OPEN' AND (changed_at, finding_id) > ($1::timestamptz, $2::uuid)
ORDER BY changed_at, finding_id
LIMIT $3::int;

-- name: reports_at
SELECT r.processing_id, r.revision, r.participant, r.final, r.outcome, r.digest, r.effects_digest, r.dependencies,
    r.callers, r.body, r.reported_at
FROM unnest($1::text[], $2::bigint[]) AS u (processing_id, revision)
JOIN tracer.report AS r ON r.processing_id = u.processing_id AND r.revision = u.revision
WHERE r.final;

-- name: insert_repairs
INSERT INTO tracer.repair (processing_id, repair_id, finding_id, revision, rule, service, action, effect_id, state,
    attempts, due_at, instructed_at)
SELECT u.processing_id, u.repair_id, u.finding_id, u.revision, u.rule, u.service, u.action, u.effect_id, 'INSTRUCTED',
    0, $9::timestamptz, $9::timestamptz
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[])
    AS u (processing_id, repair_id, finding_id, revision, rule, service, action, effect_id)
ON CONFLICT (processing_id, repair_id) DO NOTHING
RETURNING processing_id, repair_id;

-- name: repairs_due
SELECT processing_id, repair_id, finding_id, rule, service, action, effect_id, attempts
FROM tracer.repair
WHERE state = 'INSTRUCTED' AND due_at <= $1::timestamptz
ORDER BY due_at, repair_id
LIMIT $2::int;

-- name: attempt_repairs
UPDATE tracer.repair AS r SET attempts = r.attempts + 1, due_at = u.due_at
FROM unnest($1::text[], $2::uuid[], $3::timestamptz[]) AS u (processing_id, repair_id, due_at)
WHERE r.processing_id = u.processing_id AND r.repair_id = u.repair_id AND r.state = 'INSTRUCTED';

-- name: settle_repair
UPDATE tracer.repair SET state = $3::text, outcome = $4::text, settled_at = $5::timestamptz
WHERE processing_id = $1::text AND repair_id = $2::uuid AND state = 'INSTRUCTED'
RETURNING repair_id;

-- name: repairs_left
SELECT count(*) AS repairs FROM tracer.repair WHERE processing_id = $1::text AND state = 'INSTRUCTED';
