-- name: insert_keys
INSERT INTO identity.api_key (key_id, secret_sha256, last_four, name, scopes, created_at, created_by)
SELECT k.key_id, k.secret_sha256, k.last_four, k.name, string_to_array(k.scopes, ' '), k.created_at, k.created_by
FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[])
    AS k (key_id, secret_sha256, last_four, name, scopes, created_at, created_by);

-- name: claim_first_key
INSERT INTO identity.first_key (turn, key_id)
SELECT 1, $1::uuid
WHERE NOT EXISTS (SELECT 1 FROM identity.api_key)
ON CONFLICT (turn) DO NOTHING
RETURNING key_id;

-- name: fetch_keys
SELECT key_id, secret_sha256, last_four, name, scopes, created_at, created_by, revoked_at
FROM identity.api_key
WHERE key_id = ANY ($1::uuid[]);

-- name: list_keys
SELECT key_id, secret_sha256, last_four, name, scopes, created_at, created_by, revoked_at
FROM identity.api_key
WHERE (created_at, key_id) < ($1::timestamptz, $2::uuid) AND ($3::boolean OR revoked_at IS NULL)
ORDER BY created_at DESC, key_id DESC
LIMIT $4;

-- name: list_holders
SELECT key_id
FROM identity.api_key
WHERE $1::text = ANY (scopes) AND revoked_at IS NULL
ORDER BY key_id
LIMIT 2;

-- name: revoke_keys
UPDATE identity.api_key
SET revoked_at = $2::timestamptz
WHERE key_id = ANY ($1::uuid[]) AND revoked_at IS NULL;
