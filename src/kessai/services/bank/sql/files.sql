-- name: insert_waiting
INSERT INTO bank.instruction (instruction_id, kind, state, version, account_id, owner_kind, owner_id, amount_minor,
    reference, processing_id, caller, created_at, updated_at, asked_on, transfer_on)
SELECT u.instruction_id, u.kind, 'ACCEPTED', 0, u.account_id, u.owner_kind, u.owner_id, u.amount_minor,
    u.reference, u.processing_id, u.caller, u.created_at, u.created_at, u.asked_on, u.transfer_on
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[],
    $9::text[], $10::timestamptz[], $11::date[], $12::date[])
    AS u (instruction_id, kind, account_id, owner_kind, owner_id, amount_minor, reference, processing_id, caller,
    created_at, asked_on, transfer_on)
ON CONFLICT (instruction_id, kind) DO NOTHING
RETURNING instruction_id

-- name: waiting_instructions
SELECT i.instruction_id, i.kind, i.state, i.version, i.account_id, i.owner_kind, i.owner_id, i.amount_minor,
    i.failure_code, i.bank_reference, i.reference, i.processing_id, i.created_at, i.updated_at, i.asked_on,
    i.transfer_on, i.file_id, i.file_line, i.attempt
FROM bank.instruction AS i
WHERE i.kind = $1 AND i.transfer_on <= $2 AND i.transfer_on IS NOT NULL AND i.file_id IS NULL AND i.state = 'ACCEPTED'
ORDER BY i.transfer_on, i.instruction_id
LIMIT $3

-- name: count_waiting
SELECT count(*) AS instructions, coalesce(sum(amount_minor), 0)::bigint AS total_minor
FROM bank.instruction
WHERE kind = $1 AND transfer_on <= $2 AND transfer_on IS NOT NULL AND file_id IS NULL AND state = 'ACCEPTED'

-- name: files_in_doubt
SELECT count(*) AS instructions, min(transfer_on) AS oldest_on
FROM bank.instruction
WHERE state IN ('ACCEPTED', 'UNKNOWN', 'SENT') AND transfer_on <= $1

-- name: hold_waiting
UPDATE bank.instruction
SET attempt = attempt
WHERE instruction_id = ANY ($1::uuid[]) AND kind = $2 AND file_id IS NULL AND state = 'ACCEPTED'
RETURNING instruction_id

-- name: assign_instructions
UPDATE bank.instruction AS i
SET transfer_on = u.transfer_on, file_id = u.file_id, file_line = u.file_line, attempt = u.attempt
FROM unnest($1::uuid[], $2::text[], $3::date[], $4::uuid[], $5::int[], $6::int[])
    AS u (instruction_id, kind, transfer_on, file_id, file_line, attempt)
WHERE i.instruction_id = u.instruction_id AND i.kind = u.kind AND i.file_id IS NULL AND i.state = 'ACCEPTED'
RETURNING i.instruction_id

-- name: requeue_instructions
UPDATE bank.instruction AS i
SET transfer_on = u.transfer_on, file_id = NULL, file_line = NULL, attempt = u.attempt
FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::date[], $5::int[])
    AS u (instruction_id, kind, file_id, transfer_on, attempt)
WHERE i.instruction_id = u.instruction_id AND i.kind = u.kind AND i.file_id = u.file_id AND i.state = 'ACCEPTED'
RETURNING i.instruction_id

-- name: insert_files
INSERT INTO bank.transfer_file (file_id, kind, transfer_on, state, version, lines, total_minor, open_lines, approvals,
    approvals_needed, content_sealed, content_sha256, maker, made_at, updated_at)
SELECT u.file_id, u.kind, u.transfer_on, u.state, 0, u.lines, u.total_minor, u.lines, 0,
    u.approvals_needed, u.content_sealed, u.content_sha256, u.maker, u.made_at, u.made_at
FROM unnest($1::uuid[], $2::text[], $3::date[], $4::text[], $5::int[], $6::bigint[], $7::int[], $8::bytea[],
    $9::bytea[], $10::text[], $11::timestamptz[])
    AS u (file_id, kind, transfer_on, state, lines, total_minor, approvals_needed, content_sealed, content_sha256,
    maker, made_at)

-- name: insert_file_steps
INSERT INTO bank.file_step (file_id, sequence, state, code, caller, recorded_at)
SELECT u.file_id, u.sequence, u.state, u.code, u.caller, u.recorded_at
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
    AS u (file_id, sequence, state, code, caller, recorded_at)

-- name: insert_lines
INSERT INTO bank.file_line (file_id, line, instruction_id, kind, customer_code_1, customer_code_2, amount_minor,
    attempt, state, version, updated_at)
SELECT u.file_id, u.line, u.instruction_id, u.kind, u.customer_code_1, u.customer_code_2, u.amount_minor,
    u.attempt, u.state, 0, u.updated_at
FROM unnest($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::int[],
    $9::text[], $10::timestamptz[])
    AS u (file_id, line, instruction_id, kind, customer_code_1, customer_code_2, amount_minor, attempt, state,
    updated_at)

-- name: insert_line_steps
INSERT INTO bank.line_step (file_id, line, sequence, state, was, failure_code, recorded_at)
SELECT u.file_id, u.line, u.sequence, u.state, u.was, u.failure_code, u.recorded_at
FROM unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
    AS u (file_id, line, sequence, state, was, failure_code, recorded_at)

-- name: load_files
SELECT file_id, kind, transfer_on, state, version, lines, total_minor, open_lines, approvals, approvals_needed,
    content_sha256, code, maker, made_at, sent_at, updated_at, paid_lines, paid_minor, unpaid_lines, unpaid_minor
FROM bank.transfer_file
WHERE file_id = ANY ($1::uuid[])

-- name: file_content
SELECT content_sealed
FROM bank.transfer_file
WHERE file_id = $1::uuid

-- name: list_files
SELECT file_id, kind, transfer_on, state, version, lines, total_minor, open_lines, approvals, approvals_needed,
    content_sha256, code, maker, made_at, sent_at, updated_at, paid_lines, paid_minor, unpaid_lines, unpaid_minor
FROM bank.transfer_file
WHERE file_id < $1::uuid AND ($2::date IS NULL OR transfer_on = $2)
ORDER BY file_id DESC
LIMIT $3

-- name: unsent_files
SELECT file_id, kind, transfer_on, state, version, lines, total_minor, open_lines, approvals, approvals_needed,
    content_sha256, code, maker, made_at, sent_at, updated_at, paid_lines, paid_minor, unpaid_lines, unpaid_minor
FROM bank.transfer_file
WHERE state IN ('MADE', 'APPROVED', 'SENDING')
ORDER BY file_id

-- name: open_debit_files
SELECT file_id, kind, transfer_on, state, version, lines, total_minor, open_lines, approvals, approvals_needed,
    content_sha256, code, maker, made_at, sent_at, updated_at, paid_lines, paid_minor, unpaid_lines, unpaid_minor
FROM bank.transfer_file
WHERE kind = 'debit' AND state IN ('SENT', 'ACCEPTED') AND transfer_on <= $1
ORDER BY file_id

-- name: change_files
UPDATE bank.transfer_file AS f
SET state = u.state, version = u.version, open_lines = u.open_lines, approvals = u.approvals, code = u.code,
    sent_at = u.sent_at, updated_at = u.updated_at, paid_lines = u.paid_lines, paid_minor = u.paid_minor,
    unpaid_lines = u.unpaid_lines, unpaid_minor = u.unpaid_minor
FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[], $5::int[], $6::text[], $7::timestamptz[],
    $8::timestamptz[], $9::int[], $10::bigint[], $11::int[], $12::bigint[])
    AS u (file_id, state, version, open_lines, approvals, code, sent_at, updated_at, paid_lines, paid_minor,
    unpaid_lines, unpaid_minor)
WHERE f.file_id = u.file_id AND f.version = u.version - 1
RETURNING f.file_id

-- name: insert_approvals
INSERT INTO bank.file_approval (file_id, approver, approved_at)
SELECT u.file_id, u.approver, u.approved_at
FROM unnest($1::uuid[], $2::text[], $3::timestamptz[]) AS u (file_id, approver, approved_at)
ON CONFLICT (file_id, approver) DO NOTHING
RETURNING file_id

-- name: approvals_of
SELECT approver, approved_at
FROM bank.file_approval
WHERE file_id = $1::uuid
ORDER BY approved_at, approver

-- name: steps_of_file
SELECT sequence, state, code, caller, recorded_at
FROM bank.file_step
WHERE file_id = $1::uuid
ORDER BY sequence

-- name: load_lines
SELECT l.file_id, l.line, l.instruction_id, l.kind, l.customer_code_1, l.customer_code_2, l.amount_minor, l.attempt,
    l.state, l.failure_code, l.booked_on, l.recall, l.version, l.updated_at
FROM bank.file_line AS l
JOIN unnest($1::uuid[], $2::int[]) AS u (file_id, line) ON l.file_id = u.file_id AND l.line = u.line

-- name: lines_of_file
SELECT file_id, line, instruction_id, kind, customer_code_1, customer_code_2, amount_minor, attempt, state,
    failure_code, booked_on, recall, version, updated_at
FROM bank.file_line
WHERE file_id = $1::uuid AND line > $2
ORDER BY line
LIMIT $3

-- name: lines_to_recall
SELECT file_id, line, instruction_id, kind, customer_code_1, customer_code_2, amount_minor, attempt, state,
    failure_code, booked_on, recall, version, updated_at
FROM bank.file_line
WHERE recall = 'ASKED' AND (file_id, line) > ($1::uuid, $2::int)
ORDER BY file_id, line
LIMIT $3

-- name: change_lines
UPDATE bank.file_line AS l
SET state = u.state, failure_code = u.failure_code, booked_on = u.booked_on, recall = u.recall, version = u.version,
    updated_at = u.updated_at
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::date[], $6::text[], $7::bigint[], $8::timestamptz[])
    AS u (file_id, line, state, failure_code, booked_on, recall, version, updated_at)
WHERE l.file_id = u.file_id AND l.line = u.line AND l.version = u.version - 1
RETURNING l.file_id

-- name: move_lines
WITH moved AS (
    UPDATE bank.file_line
    SET state = $3, version = version + 1, updated_at = $4
    WHERE file_id = $1::uuid AND state = $2
    RETURNING file_id, line, version
)
INSERT INTO bank.line_step (file_id, line, sequence, state, was, recorded_at)
SELECT file_id, line, version, $3, $2, $4
FROM moved
RETURNING line

-- name: steps_of_line
SELECT sequence, state, failure_code, recorded_at
FROM bank.line_step
WHERE file_id = $1::uuid AND line = $2
ORDER BY sequence

-- name: note_unmatched
INSERT INTO bank.unmatched_result (position, part, file_id, line, state, code, amount_minor, reason, met_at)
SELECT u.position, u.part, u.file_id, u.line, u.state, u.code, u.amount_minor, u.reason, $9
FROM unnest($1::bigint[], $2::int[], $3::text[], $4::int[], $5::text[], $6::text[], $7::bigint[], $8::text[])
    AS u (position, part, file_id, line, state, code, amount_minor, reason)
ON CONFLICT (position, part) DO NOTHING

-- name: list_unmatched
SELECT position, part, file_id, line, state, code, amount_minor, reason, met_at
FROM bank.unmatched_result
WHERE position < $1
ORDER BY position DESC, part DESC
LIMIT $2

-- name: files_position
SELECT position
FROM bank.feed_cursor
WHERE feed = 'files'

-- name: move_files
UPDATE bank.feed_cursor
SET position = $2
WHERE feed = 'files' AND position = $1
RETURNING position

-- name: count_failures
UPDATE bank.account AS a
SET failures = CASE WHEN u.anew THEN 0 ELSE a.failures END + u.failures,
    frozen_at = CASE
        WHEN a.frozen_at IS NULL AND CASE WHEN u.anew THEN 0 ELSE a.failures END + u.failures >= $4 THEN $5
        ELSE a.frozen_at
    END
FROM unnest($1::uuid[], $2::boolean[], $3::int[]) AS u (account_id, anew, failures)
WHERE a.account_id = u.account_id AND (u.failures > 0 OR a.failures > 0)
RETURNING a.account_id, a.failures, a.frozen_at

-- name: thaw_accounts
UPDATE bank.account
SET failures = 0, frozen_at = NULL
WHERE account_id = ANY ($1::uuid[])
RETURNING account_id

-- name: files_under_old_keys
SELECT file_id, content_sealed
FROM bank.transfer_file
WHERE file_id > $1::uuid AND substring(content_sealed FROM 1 FOR 5) <> $2::bytea
ORDER BY file_id
LIMIT $3

-- name: reseal_files
UPDATE bank.transfer_file AS f
SET content_sealed = u.content_sealed
FROM unnest($1::uuid[], $2::bytea[]) AS u (file_id, content_sealed)
WHERE f.file_id = u.file_id
