-- name: files_named
SELECT file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor, refunds_count, refunds_minor,
       reversals_count, reversals_minor, taken_at, cleared_at, version
FROM nfc.clearing_file
WHERE file_id = ANY ($1::text[])

-- name: files_before
SELECT file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor, refunds_count, refunds_minor,
       reversals_count, reversals_minor, taken_at, cleared_at, version
FROM nfc.clearing_file
WHERE sequence < $1
ORDER BY sequence DESC, file_id DESC
LIMIT $2

-- name: sequences_between
SELECT DISTINCT sequence FROM nfc.clearing_file WHERE sequence BETWEEN $1 AND $2

-- name: files_in_state
SELECT file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor, refunds_count, refunds_minor,
       reversals_count, reversals_minor, taken_at, cleared_at, version
FROM nfc.clearing_file
WHERE state = $1
ORDER BY sequence, file_id
LIMIT $2

-- name: insert_files
INSERT INTO nfc.clearing_file (file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor,
       refunds_count, refunds_minor, reversals_count, reversals_minor, taken_at, cleared_at, version)
SELECT file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor, refunds_count, refunds_minor,
       reversals_count, reversals_minor, taken_at, cleared_at, version
FROM unnest($1::text[], $2::bigint[], $3::date[], $4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::timestamptz[],
            $15::timestamptz[], $16::bigint[])
     AS t (file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor, refunds_count, refunds_minor,
           reversals_count, reversals_minor, taken_at, cleared_at, version)
ON CONFLICT DO NOTHING
RETURNING file_id

-- name: update_files
UPDATE nfc.clearing_file AS f
SET sequence = t.sequence, day = t.day, state = t.state, code = t.code, sha256 = t.sha256, lines = t.lines,
    sales_count = t.sales_count, sales_minor = t.sales_minor, refunds_count = t.refunds_count,
    refunds_minor = t.refunds_minor, reversals_count = t.reversals_count, reversals_minor = t.reversals_minor,
    taken_at = t.taken_at, cleared_at = t.cleared_at, version = t.version
FROM unnest($1::text[], $2::bigint[], $3::date[], $4::text[], $5::text[], $6::bytea[], $7::bigint[], $8::bigint[],
            $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::timestamptz[],
            $15::timestamptz[], $16::bigint[])
     AS t (file_id, sequence, day, state, code, sha256, lines, sales_count, sales_minor, refunds_count, refunds_minor,
           reversals_count, reversals_minor, taken_at, cleared_at, version)
WHERE f.file_id = t.file_id AND f.version = t.version - 1
RETURNING f.file_id

-- name: delete_wrong_lines
DELETE FROM nfc.clearing_line_wrong WHERE file_id = ANY ($1::text[])

-- name: insert_wrong_lines
INSERT INTO nfc.clearing_line_wrong (file_id, record, place, code)
SELECT file_id, record, place, code
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[]) AS t (file_id, record, place, code)
ON CONFLICT DO NOTHING

-- name: wrong_lines_of
SELECT record, place, code FROM nfc.clearing_line_wrong WHERE file_id = $1 ORDER BY record LIMIT $2

-- name: insert_lines
INSERT INTO nfc.clearing_line (file_id, line, kind, card, amount_minor, currency, authorized_on, approval_code, rrn,
       merchant, mcc, acquirer, reference, processed_on, outcome, moved_minor, authorization_id, decided_at)
SELECT file_id, line, kind, card, amount_minor, currency, authorized_on, approval_code, rrn, merchant, mcc, acquirer,
       reference, processed_on, NULL, 0, NULL, NULL
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::date[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::date[])
     AS t (file_id, line, kind, card, amount_minor, currency, authorized_on, approval_code, rrn, merchant, mcc,
           acquirer, reference, processed_on)

-- name: lines_at
SELECT l.file_id, l.line, l.kind, l.card, l.amount_minor, l.currency, l.authorized_on, l.approval_code, l.rrn,
       l.merchant, l.mcc, l.acquirer, l.reference, l.processed_on, l.outcome, l.moved_minor, l.authorization_id,
       l.decided_at
FROM unnest($1::text[], $2::bigint[]) AS t (file_id, line)
JOIN nfc.clearing_line AS l ON l.file_id = t.file_id AND l.line = t.line

-- name: lines_after
SELECT file_id, line, kind, card, amount_minor, currency, authorized_on, approval_code, rrn, merchant, mcc, acquirer,
       reference, processed_on, outcome, moved_minor, authorization_id, decided_at
FROM nfc.clearing_line
WHERE file_id = $1 AND line > $2 AND ($3::text IS NULL OR outcome = $3)
ORDER BY line
LIMIT $4

-- name: undecided_after
SELECT file_id, line, kind, card, amount_minor, currency, authorized_on, approval_code, rrn, merchant, mcc, acquirer,
       reference, processed_on, outcome, moved_minor, authorization_id, decided_at
FROM nfc.clearing_line
WHERE file_id = $1 AND outcome IS NULL
ORDER BY line
LIMIT $2

-- name: outcomes_of
SELECT outcome, count(*) AS lines FROM nfc.clearing_line WHERE file_id = $1 GROUP BY outcome

-- name: undecided_of
SELECT file_id, count(*) AS lines
FROM nfc.clearing_line
WHERE file_id = ANY ($1::text[]) AND outcome IS NULL
GROUP BY file_id

-- name: decide_lines
UPDATE nfc.clearing_line AS l
SET outcome = t.outcome, moved_minor = t.moved_minor, authorization_id = t.authorization_id, decided_at = t.decided_at
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::uuid[], $6::timestamptz[])
     AS t (file_id, line, outcome, moved_minor, authorization_id, decided_at)
WHERE l.file_id = t.file_id AND l.line = t.line AND l.outcome IS NULL
RETURNING l.line

-- name: sales_of
SELECT reference, file_id, line, card, merchant, amount_minor, borne_by
FROM nfc.clearing_sale
WHERE reference = ANY ($1::text[])

-- name: sales_at
SELECT s.reference, s.file_id, s.line, s.card, s.merchant, s.amount_minor, s.borne_by
FROM unnest($1::text[], $2::text[]) AS t (card, merchant)
JOIN nfc.clearing_sale AS s ON s.card = t.card AND s.merchant = t.merchant
ORDER BY s.file_id DESC, s.line DESC
LIMIT $3

-- name: insert_sales
INSERT INTO nfc.clearing_sale (reference, file_id, line, card, merchant, amount_minor, borne_by)
SELECT reference, file_id, line, card, merchant, amount_minor, string_to_array(borne_by, ',')::uuid[]
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::text[])
     AS t (reference, file_id, line, card, merchant, amount_minor, borne_by)
ON CONFLICT DO NOTHING
RETURNING reference

-- name: authorizations_of_rrns
SELECT authorization_id, acquirer, rrn
FROM nfc.id_authorization
WHERE rrn = ANY ($1::text[]) AND kind <> 'clearing'
ORDER BY received_at DESC, authorization_id

-- name: cards_cleared
SELECT reference, card_id, customer_id, token, last_four FROM nfc.card WHERE reference = ANY ($1::text[])

-- name: taken_back
SELECT DISTINCT authorization_id
FROM nfc.id_reversal
WHERE authorization_id = ANY ($1::uuid[]) AND response = '00'

-- name: insert_findings
INSERT INTO nfc.clearing_finding (finding_id, kind, about, state, file_id, line, authorization_id, customer_id, day,
       ours_minor, theirs_minor, detail, remedy, found_at, closed_at, closed_by)
SELECT finding_id, kind, about, 'OPEN', file_id, line, authorization_id, customer_id, day, ours_minor, theirs_minor,
       detail, remedy, found_at, NULL, NULL
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::uuid[], $7::text[], $8::date[],
            $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::timestamptz[])
     AS t (finding_id, kind, about, file_id, line, authorization_id, customer_id, day, ours_minor, theirs_minor,
           detail, remedy, found_at)
ON CONFLICT (finding_id) DO UPDATE
SET state = 'OPEN', closed_at = NULL, closed_by = NULL, ours_minor = excluded.ours_minor,
    theirs_minor = excluded.theirs_minor, remedy = excluded.remedy
WHERE clearing_finding.state = 'CLOSED' AND clearing_finding.closed_by IN ('nfc.reconcile', 'nfc.repair')
RETURNING finding_id

-- name: findings_named
SELECT finding_id, kind, about, state, file_id, line, authorization_id, customer_id, day, ours_minor, theirs_minor,
       detail, remedy, found_at, closed_at, closed_by
FROM nfc.clearing_finding
WHERE finding_id = ANY ($1::uuid[])

-- name: findings_before
SELECT finding_id, kind, about, state, file_id, line, authorization_id, customer_id, day, ours_minor, theirs_minor,
       detail, remedy, found_at, closed_at, closed_by
FROM nfc.clearing_finding
WHERE (found_at, finding_id) < ($1::timestamptz, $2::uuid) AND ($3::text IS NULL OR state = $3)
      AND ($4::text IS NULL OR kind = $4)
ORDER BY found_at DESC, finding_id DESC
LIMIT $5

-- name: findings_remedied
SELECT finding_id, kind, about, state, file_id, line, authorization_id, customer_id, day, ours_minor, theirs_minor,
       detail, remedy, found_at, closed_at, closed_by
FROM nfc.clearing_finding
WHERE state = 'OPEN' AND remedy IS NOT NULL AND finding_id > $1::uuid
ORDER BY finding_id
LIMIT $2

-- name: close_findings
UPDATE nfc.clearing_finding AS f
SET state = 'CLOSED', closed_at = $2, closed_by = $3
WHERE f.finding_id = ANY ($1::uuid[]) AND f.state = 'OPEN'
RETURNING f.finding_id

-- name: insert_notes
INSERT INTO nfc.clearing_finding_note (finding_id, note_id, note, noted_by, noted_at, closes)
SELECT finding_id, note_id, note, noted_by, noted_at, closes
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::boolean[])
     AS t (finding_id, note_id, note, noted_by, noted_at, closes)
ON CONFLICT DO NOTHING

-- name: notes_of
SELECT note, noted_by, noted_at, closes
FROM nfc.clearing_finding_note
WHERE finding_id = $1
ORDER BY noted_at, note_id
