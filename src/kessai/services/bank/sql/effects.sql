-- name: instructions_of_processings
SELECT i.instruction_id, i.kind, i.state, i.version, i.account_id, i.owner_kind, i.owner_id, i.amount_minor,
    i.failure_code, i.bank_reference, i.reference, i.processing_id, i.created_at, i.updated_at, i.asked_on,
    i.transfer_on, i.file_id, i.file_line, i.attempt, i.caller,
    a.owner_kind AS holder_kind, a.owner_id AS holder_id
FROM bank.instruction AS i
LEFT JOIN bank.account AS a ON a.account_id = i.account_id
WHERE i.processing_id = ANY ($1::text[])
ORDER BY i.instruction_id, i.kind

-- name: steps_of_instructions
SELECT s.instruction_id, s.kind, s.sequence, s.state, s.failure_code, s.recorded_at, s.was
FROM bank.instruction_step AS s
WHERE s.instruction_id = ANY ($1::uuid[])
ORDER BY s.instruction_id, s.kind, s.sequence

-- name: orphaned_steps
SELECT s.instruction_id, s.kind, s.sequence, s.processing_id
FROM bank.instruction_step AS s
LEFT JOIN bank.instruction AS i ON i.instruction_id = s.instruction_id AND i.kind = s.kind
WHERE s.processing_id = ANY ($1::text[]) AND i.instruction_id IS NULL
