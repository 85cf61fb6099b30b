-- name: authorizations_received
SELECT authorization_id, received_at
FROM nfc.id_authorization
WHERE received_at >= $1 AND received_at < $2 AND (received_at, authorization_id) > ($3::timestamptz, $4::uuid)
      AND kind <> 'clearing'
ORDER BY received_at, authorization_id
LIMIT $5

-- name: reversals_recorded
SELECT authorization_id, reversal_id, recorded_at
FROM nfc.id_reversal
WHERE recorded_at >= $1 AND recorded_at < $2 AND response = '00'
      AND (recorded_at, authorization_id, reversal_id) > ($3::timestamptz, $4::uuid, $5::uuid)
ORDER BY recorded_at, authorization_id, reversal_id
LIMIT $6

-- name: unborne
SELECT authorization_id
FROM nfc.id_authorization
WHERE state = 'CLEARED' AND work IS NULL AND captured_minor - refunded_minor <> stands_minor AND plan IS NOT NULL
      AND authorization_id > $1::uuid
ORDER BY authorization_id
LIMIT $2

-- name: cleared_on
SELECT l.kind, count(*) AS lines, sum(l.amount_minor)::bigint AS amount_minor
FROM nfc.clearing_file AS f
JOIN nfc.clearing_line AS l ON l.file_id = f.file_id
WHERE f.day = $1
GROUP BY l.kind

-- name: day_named
SELECT day, records_after, records_until, agrees, looked_at FROM nfc.clearing_day WHERE day = $1

-- name: day_before
SELECT day, records_after, records_until, agrees, looked_at
FROM nfc.clearing_day
WHERE day < $1
ORDER BY day DESC
LIMIT 1

-- name: days_open
-- Also those of which a file has come since.
SELECT d.day
FROM nfc.clearing_day AS d
WHERE d.day BETWEEN $1 AND $2 AND (NOT d.agrees OR EXISTS (
    SELECT 1 FROM nfc.clearing_file AS f WHERE f.day = d.day AND coalesce(f.cleared_at, f.taken_at) > d.looked_at))
ORDER BY d.day

-- name: write_day
INSERT INTO nfc.clearing_day (day, records_after, records_until, agrees, looked_at)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (day) DO UPDATE
SET records_after = excluded.records_after, records_until = excluded.records_until, agrees = excluded.agrees,
    looked_at = excluded.looked_at

-- name: write_totals
INSERT INTO nfc.clearing_total (day, figure, ours_count, ours_minor, theirs_count, theirs_minor)
SELECT day, figure, ours_count, ours_minor, theirs_count, theirs_minor
FROM unnest($1::date[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS t (day, figure, ours_count, ours_minor, theirs_count, theirs_minor)
ON CONFLICT (day, figure) DO UPDATE
SET ours_count = excluded.ours_count, ours_minor = excluded.ours_minor, theirs_count = excluded.theirs_count,
    theirs_minor = excluded.theirs_minor

-- name: totals_of
SELECT figure, ours_count, ours_minor, theirs_count, theirs_minor FROM nfc.clearing_total WHERE day = $1

-- name: first_received
SELECT min(received_at) AS at FROM nfc.id_authorization WHERE received_at >= $1 AND received_at < $2

-- name: first_file_day
SELECT min(day) AS day FROM nfc.clearing_file WHERE day BETWEEN $1 AND $2
