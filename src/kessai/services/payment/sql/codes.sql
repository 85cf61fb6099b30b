-- name: issue_codes
INSERT INTO payment.one_time_code (code_id, customer_id, sources, points, return_url, caller, issued_at, expires_at)
SELECT u.code_id, u.customer_id, u.sources, u.points, u.return_url, u.caller, u.issued_at, u.expires_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
    $8::timestamptz[])
    AS u(code_id, customer_id, sources, points, return_url, caller, issued_at, expires_at)

-- name: revoke_older_codes
UPDATE payment.one_time_code AS c
SET revoked_at = $2
WHERE c.used_at IS NULL AND c.revoked_at IS NULL AND c.code_id IN (
    SELECT r.code_id
    FROM (SELECT o.code_id, row_number() OVER (PARTITION BY o.customer_id ORDER BY o.issued_at DESC, o.code_id) AS age
          FROM payment.one_time_code AS o
          WHERE o.customer_id = ANY ($1::text[]) AND o.used_at IS NULL AND o.revoked_at IS NULL
             AND o.expires_at > $2) AS r
    WHERE r.age > $3)

-- name: find_codes
SELECT code_id, customer_id, sources, points, return_url, caller, issued_at, expires_at, used_at, payment_id,
    revoked_at
FROM payment.one_time_code
WHERE code_id = ANY ($1::uuid[])

-- name: use_code
UPDATE payment.one_time_code AS c
SET used_at = u.used_at, payment_id = u.payment_id
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u(code_id, payment_id, used_at)
WHERE c.code_id = u.code_id AND c.used_at IS NULL AND c.revoked_at IS NULL AND c.expires_at > u.used_at
RETURNING c.code_id

-- name: revoke_codes
UPDATE payment.one_time_code AS c
SET revoked_at = $2
WHERE c.code_id = ANY ($1::uuid[]) AND c.used_at IS NULL AND c.revoked_at IS NULL AND c.expires_at > $2
RETURNING c.code_id

-- name: failures_of_callers
SELECT caller, failures FROM payment.code_attempt WHERE caller = ANY ($1::text[]) AND window_at = $2

-- name: count_failures
INSERT INTO payment.code_attempt AS a (caller, window_at, failures)
SELECT u.caller, u.window_at, 1 FROM unnest($1::text[], $2::timestamptz[]) AS u(caller, window_at)
ON CONFLICT (caller, window_at) DO UPDATE SET failures = a.failures + 1

-- name: forget_codes
DELETE FROM payment.one_time_code
WHERE used_at IS NULL AND code_id IN (
    SELECT code_id FROM payment.one_time_code WHERE used_at IS NULL AND expires_at < $1 ORDER BY expires_at LIMIT $2)
RETURNING code_id

-- name: forget_attempts
DELETE FROM payment.code_attempt WHERE window_at < $1
