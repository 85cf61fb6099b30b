-- name: insert_accounts
INSERT INTO bank.account (account_id, owner_kind, owner_id, bank_code, branch_code, deposit_type, number_sealed,
    holder_sealed, fingerprint, last_digits, debits, caller, registered_at, state)
SELECT u.account_id, u.owner_kind, u.owner_id, u.bank_code, u.branch_code, u.deposit_type, u.number_sealed,
    u.holder_sealed, u.fingerprint, u.last_digits, u.debits, u.caller, u.registered_at, u.state
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bytea[], $8::bytea[],
    $9::bytea[], $10::text[], $11::boolean[], $12::text[], $13::timestamptz[], $14::text[])
    AS u (account_id, owner_kind, owner_id, bank_code, branch_code, deposit_type, number_sealed, holder_sealed,
    fingerprint, last_digits, debits, caller, registered_at, state)
ON CONFLICT (account_id) DO NOTHING

-- name: settle_accounts
UPDATE bank.account AS a
SET state = u.state
FROM unnest($1::uuid[], $2::text[]) AS u (account_id, state)
WHERE a.account_id = u.account_id AND a.state = 'PENDING'
RETURNING a.account_id

-- name: load_accounts
SELECT account_id, owner_kind, owner_id, bank_code, branch_code, deposit_type, number_sealed, holder_sealed,
    last_digits, debits, registered_at, removed_at, state, failures, frozen_at
FROM bank.account
WHERE account_id = ANY ($1::uuid[])

-- name: accounts_of_owner
SELECT account_id, owner_kind, owner_id, bank_code, branch_code, deposit_type, number_sealed, holder_sealed,
    last_digits, debits, registered_at, removed_at, state, failures, frozen_at
FROM bank.account
WHERE owner_id = $1 AND owner_kind = $2 AND state = 'ACTIVE' AND ($3::boolean OR removed_at IS NULL)
ORDER BY registered_at DESC, account_id DESC
LIMIT $4

-- name: accounts_alike
SELECT account_id
FROM bank.account
WHERE fingerprint = ANY ($1::bytea[]) AND owner_kind = $2 AND owner_id = $3 AND removed_at IS NULL AND state = 'ACTIVE'
LIMIT 1

-- name: remove_accounts
UPDATE bank.account
SET removed_at = $2
WHERE account_id = ANY ($1::uuid[]) AND removed_at IS NULL

-- name: accounts_under_old_keys
SELECT account_id, owner_kind, owner_id, bank_code, branch_code, deposit_type, number_sealed, holder_sealed,
    last_digits, debits, registered_at, removed_at, state, failures, frozen_at
FROM bank.account
WHERE account_id > $1::uuid AND substring(number_sealed FROM 1 FOR 5) <> $2::bytea
ORDER BY account_id
LIMIT $3

-- name: reseal_accounts
UPDATE bank.account AS a
SET number_sealed = u.number_sealed, holder_sealed = u.holder_sealed, fingerprint = u.fingerprint
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[]) AS u (account_id, number_sealed, holder_sealed,
    fingerprint)
WHERE a.account_id = u.account_id

-- name: insert_instruction
INSERT INTO bank.instruction (instruction_id, kind, state, version, account_id, owner_kind, owner_id, amount_minor,
    reference, processing_id, caller, created_at, updated_at)
SELECT u.instruction_id, u.kind, 'ACCEPTED', 0, u.account_id, u.owner_kind, u.owner_id, u.amount_minor,
    u.reference, u.processing_id, u.caller, u.created_at, u.created_at
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
    $9::text[], $10::timestamptz[])
    AS u (instruction_id, kind, account_id, owner_kind, owner_id, amount_minor, reference, processing_id, caller,
    created_at)
ON CONFLICT (instruction_id, kind) DO NOTHING
RETURNING instruction_id

-- name: load_instructions
SELECT i.instruction_id, i.kind, i.state, i.version, i.account_id, i.owner_kind, i.owner_id, i.amount_minor,
    i.failure_code, i.bank_reference, i.reference, i.processing_id, i.created_at, i.updated_at, i.asked_on,
    i.transfer_on, i.file_id, i.file_line, i.attempt
FROM bank.instruction AS i
JOIN unnest($1::uuid[], $2::text[]) AS u (instruction_id, kind)
    ON i.instruction_id = u.instruction_id AND i.kind = u.kind

-- name: change_instructions
UPDATE bank.instruction AS i
SET state = u.state, version = u.version, failure_code = u.failure_code, bank_reference = u.bank_reference,
    updated_at = u.updated_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
    AS u (instruction_id, kind, state, version, failure_code, bank_reference, updated_at)
WHERE i.instruction_id = u.instruction_id AND i.kind = u.kind AND i.version = u.version - 1
RETURNING i.instruction_id

-- name: insert_steps
INSERT INTO bank.instruction_step (instruction_id, kind, sequence, state, failure_code, recorded_at, processing_id,
    caller, was)
SELECT u.instruction_id, u.kind, u.sequence, u.state, u.failure_code, u.recorded_at, u.processing_id, u.caller, u.was
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
    $9::text[])
    AS u (instruction_id, kind, sequence, state, failure_code, recorded_at, processing_id, caller, was)

-- name: steps_of_instruction
SELECT sequence, state, failure_code, recorded_at
FROM bank.instruction_step
WHERE instruction_id = $1::uuid AND kind = $2
ORDER BY sequence

-- name: instructions_of_owner
SELECT instruction_id, kind, state, version, account_id, owner_kind, owner_id, amount_minor, failure_code,
    bank_reference, reference, processing_id, created_at, updated_at, asked_on, transfer_on, file_id, file_line,
    attempt
FROM bank.instruction
WHERE owner_id = $1 AND owner_kind = $2 AND ($3::text IS NULL OR kind = $3)
    AND (created_at, instruction_id) < ($4::timestamptz, $5::uuid)
ORDER BY created_at DESC, instruction_id DESC
LIMIT $6

-- name: instructions_in_doubt
SELECT instruction_id, kind, state, version, account_id, owner_kind, owner_id, amount_minor, failure_code,
    bank_reference, reference, processing_id, created_at, updated_at, asked_on, transfer_on, file_id, file_line,
    attempt
FROM bank.instruction
WHERE state IN ('ACCEPTED', 'UNKNOWN', 'SENT') AND transfer_on IS NULL AND updated_at <= $1
    AND (updated_at, instruction_id) > ($2::timestamptz, $3::uuid)
ORDER BY updated_at, instruction_id
LIMIT $4

-- name: moved_amounts
SELECT instruction_id, kind, state, amount_minor, transfer_on IS NOT NULL AS by_file, bank_reference
FROM bank.instruction
WHERE (instruction_id, kind) > ($1::uuid, $2::text)
ORDER BY instruction_id, kind
LIMIT $3

-- name: feed_position
SELECT position
FROM bank.feed_cursor
WHERE feed = 'results'

-- name: move_feed
UPDATE bank.feed_cursor
SET position = $2
WHERE feed = 'results' AND position = $1
RETURNING position

-- name: doubt
SELECT (SELECT count(*) FROM bank.instruction WHERE state IN ('ACCEPTED', 'UNKNOWN', 'SENT') AND transfer_on IS NULL)
        AS instructions,
    (SELECT min(created_at) FROM bank.instruction WHERE state IN ('ACCEPTED', 'UNKNOWN', 'SENT')
        AND transfer_on IS NULL) AS since,
    (SELECT count(*) FROM bank.account WHERE state = 'PENDING') AS mandates

-- name: note_unread
INSERT INTO bank.unread_result (instruction_id, kind, position, met_at)
SELECT u.instruction_id, u.kind, u.position, $4
FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS u (instruction_id, kind, position)
ON CONFLICT (instruction_id, kind, position) DO NOTHING

-- name: unread_instructions
SELECT i.instruction_id, i.kind, i.state, i.version, i.account_id, i.owner_kind, i.owner_id, i.amount_minor,
    i.failure_code, i.bank_reference, i.reference, i.processing_id, i.created_at, i.updated_at, i.asked_on,
    i.transfer_on, i.file_id, i.file_line, i.attempt, r.position
FROM bank.unread_result AS r
JOIN bank.instruction AS i ON i.instruction_id = r.instruction_id AND i.kind = r.kind
WHERE (r.instruction_id, r.kind, r.position) > ($1::uuid, $2::text, $3::bigint)
ORDER BY r.instruction_id, r.kind, r.position
LIMIT $4

-- name: forget_unread
DELETE FROM bank.unread_result
WHERE (instruction_id, kind, position) IN (
    SELECT u.instruction_id, u.kind, u.position
    FROM unnest($1::uuid[], $2::text[], $3::bigint[]) AS u (instruction_id, kind, position)
)
