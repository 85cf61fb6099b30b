-- name: batches_named
SELECT batch_id, state, version, sequence, count, imported, wrong, code, digest, requested_by, requested_at, sent_at,
       imported_at
FROM nfc.issue_batch
WHERE batch_id = ANY ($1::uuid[])

-- name: batches_page
SELECT batch_id, state, version, sequence, count, imported, wrong, code, digest, requested_by, requested_at, sent_at,
       imported_at
FROM nfc.issue_batch
WHERE (requested_at, batch_id) < ($1, $2) AND ($3::text IS NULL OR state = $3)
ORDER BY requested_at DESC, batch_id DESC
LIMIT $4

-- name: batches_open
SELECT batch_id
FROM nfc.issue_batch
WHERE state IN ('REQUESTED', 'ISSUED') AND batch_id > $1
ORDER BY batch_id
LIMIT $2

-- name: insert_batches
INSERT INTO nfc.issue_batch (batch_id, state, version, sequence, count, imported, wrong, code, digest, requested_by,
                             requested_at, sent_at, imported_at)
SELECT batch_id, 'REQUESTED', 1, sequence, count, 0, 0, NULL, digest, requested_by, at, NULL, NULL
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bytea[], $5::text[], $6::timestamptz[])
     AS t (batch_id, sequence, count, digest, requested_by, at)
ON CONFLICT DO NOTHING
RETURNING batch_id

-- name: update_batches
UPDATE nfc.issue_batch AS b
SET state = t.state, version = t.known + 1, imported = t.imported, wrong = t.wrong, code = t.code, sent_at = t.sent_at,
    imported_at = t.imported_at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::timestamptz[],
            $8::timestamptz[])
     AS t (batch_id, known, state, imported, wrong, code, sent_at, imported_at)
WHERE b.batch_id = t.batch_id AND b.version = t.known
RETURNING b.batch_id

-- name: insert_batch_steps
INSERT INTO nfc.issue_step (batch_id, version, state, detail, caller, recorded_at)
SELECT batch_id, version, state, detail, caller, at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
     AS t (batch_id, version, state, detail, caller, at)

-- name: insert_line_errors
INSERT INTO nfc.issue_error (batch_id, ordinal, line, code, reason)
SELECT batch_id, ordinal, line, code, reason
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[], $5::text[])
     AS t (batch_id, ordinal, line, code, reason)

-- name: line_errors
SELECT line, code, reason FROM nfc.issue_error WHERE batch_id = $1 ORDER BY ordinal LIMIT $2

-- name: references_known
SELECT reference FROM nfc.pool_card WHERE reference = ANY ($1::text[])

-- name: insert_pool_cards
INSERT INTO nfc.pool_card (reference, token, last_four, expires_on, batch_id, line, state, card_id, imported_at,
                           assigned_at)
SELECT reference, token, last_four, expires_on, batch_id, line, 'FREE', NULL, at, NULL
FROM unnest($1::text[], $2::text[], $3::text[], $4::date[], $5::uuid[], $6::bigint[], $7::timestamptz[])
     AS t (reference, token, last_four, expires_on, batch_id, line, at)
ON CONFLICT DO NOTHING
RETURNING reference

-- name: assign_card
UPDATE nfc.pool_card AS p
SET state = 'ASSIGNED', card_id = $1::uuid, assigned_at = $2::timestamptz
WHERE p.state = 'FREE' AND p.reference = (
    SELECT f.reference FROM nfc.pool_card AS f
    WHERE f.state = 'FREE' AND f.expires_on >= $3::date
    ORDER BY f.expires_on, f.reference
    LIMIT 1 OFFSET $4::int)
RETURNING p.reference, p.token, p.last_four, p.expires_on

-- name: free_cards
SELECT count(*) AS free
FROM (SELECT f.reference FROM nfc.pool_card AS f WHERE f.state = 'FREE' AND f.expires_on >= $1::date LIMIT $2) AS t

-- name: pool_standing
SELECT count(*) FILTER (WHERE expires_on >= $1::date) AS free, count(*) FILTER (WHERE expires_on < $1::date) AS stale
FROM nfc.pool_card
WHERE state = 'FREE'

-- name: ordered
SELECT COALESCE(sum(count) FILTER (WHERE state IN ('REQUESTED', 'ISSUED') AND requested_at >= $1), 0)::bigint AS on_order,
       COALESCE(sum(count) FILTER (WHERE state IN ('REQUESTED', 'ISSUED') AND requested_at < $1), 0)::bigint AS overdue,
       COALESCE(sum(imported), 0)::bigint AS imported
FROM nfc.issue_batch
