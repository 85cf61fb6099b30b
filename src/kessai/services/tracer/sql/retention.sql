-- name: retention_cursor
SELECT touched_at, last_id FROM tracer.retention_cursor WHERE class = $1::text AND verdict = $2::text;

-- name: move_retention_cursor
INSERT INTO tracer.retention_cursor (class, verdict, touched_at, last_id)
VALUES ($1::text, $2::text, $3::timestamptz, $4::text)
ON CONFLICT (class, verdict) DO UPDATE SET touched_at = excluded.touched_at, last_id = excluded.last_id;

-- name: retention_due
SELECT processing_id, entry, verdict, touched_at, found
FROM tracer.processing
WHERE verdict = $1::text AND (touched_at, processing_id) > ($2::timestamptz, $3::text) AND touched_at <= $4::timestamptz
ORDER BY touched_at, processing_id
LIMIT $5::int;

-- name: retention_held
SELECT h.class, p.processing_id, p.entry, p.verdict, p.touched_at, p.found
FROM tracer.retention_held AS h
JOIN tracer.processing AS p ON p.processing_id = h.processing_id
WHERE h.processing_id > $1::text
ORDER BY h.processing_id
LIMIT $2::int;

-- name: entry_reports
SELECT r.processing_id, r.body
FROM unnest($1::text[], $2::text[]) AS u (processing_id, entry)
JOIN tracer.report AS r ON r.processing_id = u.processing_id AND r.participant = u.entry
WHERE r.subject IS NOT NULL
ORDER BY r.processing_id, r.revision;

-- name: open_findings
SELECT processing_id FROM tracer.finding WHERE finding_id = ANY ($1::uuid[]) AND state <> 'CLOSED';

-- name: still_at_rest
SELECT processing_id FROM tracer.processing
WHERE processing_id = ANY ($1::text[]) AND verdict <> 'PENDING' AND touched_at <= $2::timestamptz
ORDER BY processing_id
FOR NO KEY UPDATE;

-- name: retire_reports
DELETE FROM tracer.report WHERE processing_id = ANY ($1::text[]) RETURNING processing_id;

-- name: retire_verdicts
UPDATE tracer.verdict SET reports = '\x90'::bytea, undeclared = '\x90'::bytea, late = '{}'::text[],
    retired_at = $2::timestamptz
WHERE processing_id = ANY ($1::text[]) AND retired_at IS NULL;

-- name: hold_back
INSERT INTO tracer.retention_held (processing_id, class)
SELECT u.processing_id, $2::text FROM unnest($1::text[]) AS u (processing_id)
ON CONFLICT (processing_id) DO UPDATE SET class = excluded.class;

-- name: let_go
DELETE FROM tracer.retention_held WHERE processing_id = ANY ($1::text[]);
