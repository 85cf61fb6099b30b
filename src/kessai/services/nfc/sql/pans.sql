-- name: tokens_of
SELECT fingerprint, token FROM nfc.pan_lookup WHERE fingerprint = ANY ($1::bytea[])

-- name: insert_lookups
INSERT INTO nfc.pan_lookup (fingerprint, token)
SELECT fingerprint, token FROM unnest($1::bytea[], $2::text[]) AS t (fingerprint, token)
ON CONFLICT DO NOTHING
RETURNING token

-- name: insert_pans
INSERT INTO nfc.pan_vault (token, kind, sealed, fingerprint, last_four, created_at)
SELECT token, kind, sealed, fingerprint, last_four, at
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::text[], $6::timestamptz[])
     AS t (token, kind, sealed, fingerprint, last_four, at)

-- name: pans_under_old_keys
SELECT token, sealed, fingerprint
FROM nfc.pan_vault
WHERE substring(sealed FROM 1 FOR length($1::bytea)) <> $1 AND token > $2
ORDER BY token
LIMIT $3

-- name: reseal_pans
UPDATE nfc.pan_vault AS v
SET sealed = t.anew, fingerprint = t.fingerprint
FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[]) AS t (token, before, anew, fingerprint)
WHERE v.token = t.token AND v.sealed = t.before
RETURNING v.token

-- name: delete_lookups
DELETE FROM nfc.pan_lookup WHERE fingerprint = ANY ($1::bytea[])

-- name: numbers_of
SELECT l.fingerprint, v.token, v.last_four, c.card_id, c.customer_id, c.state, c.lock_reason, c.version,
       COALESCE(d.expires_on, c.expires_on, p.expires_on) AS expires_on, d.device_id, d.platform,
       d.state AS device_state
FROM nfc.pan_lookup AS l
JOIN nfc.pan_vault AS v ON v.token = l.token
LEFT JOIN nfc.device AS d ON d.token = l.token
LEFT JOIN nfc.card AS c ON c.card_id = COALESCE(d.card_id, (SELECT o.card_id FROM nfc.card AS o WHERE o.token = l.token))
LEFT JOIN nfc.pool_card AS p ON c.card_id IS NULL AND p.token = l.token
WHERE l.fingerprint = ANY ($1::bytea[])
