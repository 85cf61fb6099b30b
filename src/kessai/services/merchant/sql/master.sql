-- name: meanings
SELECT w.place, i.merchant_id
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) AS w (place, methods_id, payment_method, at)
JOIN merchant.master_id AS i
  ON i.methods_id = w.methods_id AND i.payment_method = w.payment_method
     AND i.valid_from <= w.at AND (i.valid_until IS NULL OR w.at < i.valid_until)

-- name: ever_mapped
SELECT payment_method FROM merchant.master_id WHERE methods_id = $1 LIMIT 1

-- name: heads_of
SELECT h.methods_id, h.payment_method, h.version
FROM unnest($1::text[], $2::text[]) AS w (methods_id, payment_method)
JOIN merchant.master_head AS h ON h.methods_id = w.methods_id AND h.payment_method = w.payment_method

-- name: mappings_of
SELECT i.methods_id, i.payment_method, i.sequence, i.merchant_id, i.valid_from, i.valid_until, i.import_id,
       i.recorded_at
FROM unnest($1::text[], $2::text[]) AS w (methods_id, payment_method)
JOIN merchant.master_id AS i ON i.methods_id = w.methods_id AND i.payment_method = w.payment_method
WHERE i.valid_until IS NULL OR i.valid_until > i.valid_from
ORDER BY i.valid_from

-- name: make_heads
INSERT INTO merchant.master_head (methods_id, payment_method, version)
SELECT methods_id, payment_method, 0 FROM unnest($1::text[], $2::text[]) AS t (methods_id, payment_method)
ON CONFLICT DO NOTHING

-- name: raise_heads
UPDATE merchant.master_head AS h
SET version = t.version
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) AS t (methods_id, payment_method, expected, version)
WHERE h.methods_id = t.methods_id AND h.payment_method = t.payment_method AND h.version = t.expected
RETURNING h.methods_id

-- name: insert_mappings
INSERT INTO merchant.master_id (methods_id, payment_method, sequence, merchant_id, valid_from, valid_until, import_id,
                       recorded_at)
SELECT methods_id, payment_method, sequence, merchant_id, valid_from, valid_until, import_id, recorded_at
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::uuid[],
            $8::timestamptz[])
     AS t (methods_id, payment_method, sequence, merchant_id, valid_from, valid_until, import_id, recorded_at)

-- name: end_mappings
UPDATE merchant.master_id AS i
SET valid_until = t.valid_until
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[])
     AS t (methods_id, payment_method, sequence, valid_until)
WHERE i.methods_id = t.methods_id AND i.payment_method = t.payment_method AND i.sequence = t.sequence

-- name: insert_id_steps
INSERT INTO merchant.master_step (methods_id, payment_method, sequence, change_id, kind, merchant_id, valid_from, valid_until,
                         reason, changed_by, approval_id, approved_by, import_id, digest, recorded_at)
SELECT methods_id, payment_method, sequence, change_id, kind, merchant_id, valid_from, valid_until, reason, changed_by,
       approval_id, approved_by, import_id, digest, recorded_at
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[],
            $8::timestamptz[], $9::text[], $10::text[], $11::text[], $12::text[], $13::uuid[], $14::bytea[],
            $15::timestamptz[])
     AS t (methods_id, payment_method, sequence, change_id, kind, merchant_id, valid_from, valid_until, reason,
           changed_by, approval_id, approved_by, import_id, digest, recorded_at)

-- name: id_steps
SELECT sequence, change_id, kind, merchant_id, valid_from, valid_until, reason, changed_by, approval_id, approved_by,
       import_id, digest, recorded_at
FROM merchant.master_step
WHERE methods_id = $1 AND payment_method = $2
ORDER BY sequence

-- name: mappings_page
SELECT methods_id, payment_method, sequence, merchant_id, valid_from, valid_until, import_id, recorded_at
FROM merchant.master_id
WHERE (methods_id, payment_method, sequence) > ($1, $2, $3::bigint)
  AND ($4::text IS NULL OR merchant_id = $4)
  AND ($5::text IS NULL OR payment_method = $5)
  AND (valid_until IS NULL OR valid_until > valid_from)
ORDER BY methods_id, payment_method, sequence
LIMIT $6

-- name: insert_imports
INSERT INTO merchant.master_import (import_id, mode, lines, taken, unchanged, wrong, reason, imported_by, approval_id,
                           approved_by, digest, recorded_at)
SELECT import_id, mode, lines, taken, unchanged, wrong, reason, imported_by, approval_id, approved_by, digest,
       recorded_at
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[],
            $9::text[], $10::text[], $11::bytea[], $12::timestamptz[])
     AS t (import_id, mode, lines, taken, unchanged, wrong, reason, imported_by, approval_id, approved_by, digest,
           recorded_at)
ON CONFLICT DO NOTHING
RETURNING import_id

-- name: insert_import_errors
INSERT INTO merchant.master_import_error (import_id, line, field, code, detail)
SELECT import_id, line, field, code, detail
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[]) AS t (import_id, line, field, code, detail)

-- name: imports_named
SELECT import_id, mode, lines, taken, unchanged, wrong, reason, imported_by, digest, recorded_at
FROM merchant.master_import
WHERE import_id = ANY ($1::uuid[])

-- name: import_errors
SELECT line, field, code, detail
FROM merchant.master_import_error
WHERE import_id = $1
ORDER BY line
LIMIT $2

-- name: imports_page
SELECT import_id, mode, lines, taken, unchanged, wrong, reason, imported_by, digest, recorded_at
FROM merchant.master_import
WHERE (recorded_at, import_id) < ($1::timestamptz, $2::uuid)
ORDER BY recorded_at DESC, import_id DESC
LIMIT $3

-- name: insert_conflicts
INSERT INTO merchant.master_conflict (methods_id, payment_method, import_id, line, wanted_merchant_id, wanted_from,
                             wanted_until, found_at)
SELECT methods_id, payment_method, import_id, line, wanted_merchant_id, wanted_from, wanted_until, found_at
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[])
     AS t (methods_id, payment_method, import_id, line, wanted_merchant_id, wanted_from, wanted_until, found_at)

-- name: conflicts_page
SELECT c.methods_id, c.payment_method, c.import_id, c.line, c.wanted_merchant_id, c.wanted_from, c.wanted_until,
       c.found_at, i.sequence, i.merchant_id, i.valid_from, i.valid_until
FROM merchant.master_conflict AS c
JOIN merchant.master_id AS i
  ON i.methods_id = c.methods_id AND i.payment_method = c.payment_method AND i.merchant_id <> c.wanted_merchant_id
     AND (i.valid_until IS NULL OR (i.valid_until > i.valid_from AND i.valid_until > c.wanted_from))
     AND (c.wanted_until IS NULL OR i.valid_from < c.wanted_until)
WHERE c.dismissed_at IS NULL
  AND (c.methods_id, c.payment_method, c.import_id, c.line, i.sequence) > ($1, $2, $3::uuid, $4::bigint, $5::bigint)
  AND ($6::text IS NULL OR c.payment_method = $6)
ORDER BY c.methods_id, c.payment_method, c.import_id, c.line, i.sequence
LIMIT $7

-- name: dismiss_conflicts
UPDATE merchant.master_conflict
SET dismissed_at = $4, dismissed_by = $5, dismissed_why = $6
WHERE methods_id = $1 AND payment_method = $2 AND wanted_merchant_id = $3 AND dismissed_at IS NULL
RETURNING line
