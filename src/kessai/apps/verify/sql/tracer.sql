-- name: processings_left_lying
SELECT p.processing_id, p.verdict, p.revision, p.due_at
FROM tracer.processing AS p
WHERE p.verdict = 'PENDING' AND p.due_at <= $1::timestamptz
ORDER BY p.due_at, p.processing_id
LIMIT $2::int;

-- name: wrong_without_finding
SELECT p.processing_id, p.verdict, p.revision
FROM tracer.processing AS p
LEFT JOIN tracer.finding AS f ON f.processing_id = p.processing_id
WHERE p.verdict IN ('INCONSISTENT', 'INCOMPLETE') AND f.finding_id IS NULL
ORDER BY p.processing_id
LIMIT $1::int;

-- name: broken_findings
SELECT f.finding_id, f.state, f.version, s.steps, s.state AS last_state
FROM tracer.finding AS f
LEFT JOIN (
    SELECT finding_id, count(*) AS steps, max(sequence) AS last,
        (array_agg(state ORDER BY sequence DESC))[1] AS state
    FROM tracer.finding_step
    GROUP BY finding_id
) AS s ON s.finding_id = f.finding_id
WHERE s.steps IS DISTINCT FROM f.version OR s.last IS DISTINCT FROM f.version OR s.state IS DISTINCT FROM f.state
ORDER BY f.finding_id
LIMIT $1::int;
