-- name: insert_keys
INSERT INTO identity.api_key (key_id, secret_sha256, last_four, name, scopes, created_at, created_by, service)
SELECT k.key_id, k.secret_sha256, k.last_four, k.name, string_to_array(k.scopes, ' '), k.created_at, k.created_by,
    k.service
FROM unnest($1::uuid[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[])
    AS k (key_id, secret_sha256, last_four, name, scopes, created_at, created_by, service);

-- name: claim_first_key
INSERT INTO identity.first_key (turn, key_id)
SELECT 1, $1::uuid
WHERE NOT EXISTS (SELECT 1 FROM identity.api_key)
ON CONFLICT (turn) DO NOTHING
RETURNING key_id;

-- name: fetch_keys
SELECT key_id, secret_sha256, last_four, name, scopes, created_at, created_by, revoked_at, service
FROM identity.api_key
WHERE key_id = ANY ($1::uuid[]);

-- name: list_keys
SELECT key_id, secret_sha256, last_four, name, scopes, created_at, created_by, revoked_at, service
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

-- name: take_admin_turn
UPDATE identity.admin_turn
SET taken = taken + 1
WHERE turn = 1
RETURNING taken;

-- name: insert_approvals
INSERT INTO identity.approval (approval_id, state, version, subject, action, content_sha256, requested_by, requested_at,
    expires_at)
SELECT u.approval_id, 'REQUESTED', 0, u.subject, u.action, u.content_sha256, u.requested_by, u.requested_at,
    u.expires_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::timestamptz[], $7::timestamptz[])
    AS u (approval_id, subject, action, content_sha256, requested_by, requested_at, expires_at)
ON CONFLICT (approval_id) DO NOTHING
RETURNING approval_id;

-- name: insert_approval_steps
INSERT INTO identity.approval_step (approval_id, sequence, state, acted_by, reason, recorded_at)
SELECT u.approval_id, u.sequence, u.state, u.acted_by, u.reason, u.recorded_at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
    AS u (approval_id, sequence, state, acted_by, reason, recorded_at);

-- name: change_approvals
UPDATE identity.approval AS a
SET state = u.state, version = u.version, approved_by = u.approved_by, consumer_id = u.consumer_id
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[])
    AS u (approval_id, state, version, approved_by, consumer_id)
WHERE a.approval_id = u.approval_id AND a.version = u.version - 1
RETURNING a.approval_id;

-- name: fetch_approvals
SELECT approval_id, state, version, subject, action, content_sha256, requested_by, requested_at, expires_at,
    approved_by, consumer_id
FROM identity.approval
WHERE approval_id = ANY ($1::uuid[]);

-- name: list_approvals
SELECT approval_id, state, version, subject, action, content_sha256, requested_by, requested_at, expires_at,
    approved_by, consumer_id
FROM identity.approval
WHERE (requested_at, approval_id) < ($1::timestamptz, $2::uuid)
    AND ($3::text IS NULL
        OR CASE WHEN state IN ('REQUESTED', 'APPROVED') AND expires_at <= $4::timestamptz THEN 'EXPIRED'
            ELSE state END = $3::text)
ORDER BY requested_at DESC, approval_id DESC
LIMIT $5;

-- name: approval_steps
SELECT approval_id, sequence, state, acted_by, reason, recorded_at
FROM identity.approval_step
WHERE approval_id = ANY ($1::uuid[])
ORDER BY approval_id, sequence;
