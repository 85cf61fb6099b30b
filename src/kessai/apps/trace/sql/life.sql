-- name: processing_of_payment
SELECT processing_id FROM payment.payment WHERE payment_id = $1::uuid;

-- name: processing_of_tap
SELECT processing_id FROM nfc.id_authorization WHERE authorization_id = $1::uuid;

-- name: payments
SELECT payment_id, kind, state, amount_minor, asset, payer_id, payee_id, captured_minor, refunded_minor, fee_minor,
    refusal_code, caller, created_at, busy_with
FROM payment.payment
WHERE processing_id = $1::text
ORDER BY created_at, payment_id;

-- name: payment_steps
SELECT payment_id, sequence, action, state, amount_minor, code, refund_id, caller, recorded_at
FROM payment.payment_step
WHERE processing_id = $1::text
ORDER BY payment_id, sequence;

-- name: refunds
SELECT payment_id, refund_id, state, amount_minor, asset, refusal_code, created_at
FROM payment.refund
WHERE processing_id = $1::text
ORDER BY payment_id, created_at, refund_id;

-- name: exchanges
SELECT e.exchange_id, e.flush_id, e.ordinal, e.record, e.caller, s.state
FROM ledger.exchange AS e LEFT JOIN ledger.exchange_state AS s ON s.exchange_id = e.exchange_id
WHERE e.processing_id = $1::text
ORDER BY e.flush_id, e.ordinal;

-- name: exchange_actions
SELECT exchange_id, action_id, flush_id, ordinal, record, caller
FROM ledger.exchange_action
WHERE processing_id = $1::text
ORDER BY flush_id, ordinal;

-- name: accounts
SELECT account_id, owner, account_type FROM ledger.account WHERE account_id = ANY ($1::uuid[]);

-- name: lots
SELECT l.account_id, l.sequence, l.amount, l.remaining, l.expires_at
FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, sequence)
JOIN ledger.lot AS l ON l.account_id = u.account_id AND l.sequence = u.sequence;

-- name: authorizations
SELECT authorization_id, customer_id, state, amount_minor, asset, captured_minor, refunded_minor, refusal_code, caller,
    created_at
FROM cardgateway.card_authorization
WHERE processing_id = $1::text
ORDER BY created_at, authorization_id;

-- name: operations
SELECT authorization_id, operation_id, kind, state, amount_minor, refusal_code, instructed_at, settled_at, doubt_ms
FROM cardgateway.card_operation
WHERE processing_id = $1::text
ORDER BY authorization_id, sent_at, operation_id;

-- name: instructions
SELECT instruction_id, kind, owner_id, state, amount_minor, failure_code, caller, created_at
FROM bank.instruction
WHERE processing_id = $1::text
ORDER BY created_at, instruction_id, kind;

-- name: instruction_steps
SELECT instruction_id, kind, sequence, state, failure_code, recorded_at
FROM bank.instruction_step
WHERE processing_id = $1::text
ORDER BY instruction_id, kind, sequence;

-- name: taps
SELECT authorization_id, kind, state, work, customer_id, amount_minor, stands_minor, response, approval_code, refusal_code,
    captured_minor, refunded_minor, payment_id, rrn, merchant, caller, received_at
FROM nfc.id_authorization
WHERE processing_id = $1::text
ORDER BY received_at, authorization_id;

-- name: taken_back
SELECT authorization_id, mti AS what, '' AS state, NULL::bigint AS amount_minor, stands_minor, response, recorded_at AS at
FROM nfc.id_reversal WHERE authorization_id = ANY ($1::uuid[])
UNION ALL
SELECT authorization_id, 'refund ' || refund_id, state, amount_minor, NULL, NULL, recorded_at
FROM nfc.id_refund WHERE authorization_id = ANY ($1::uuid[])
ORDER BY at, what;

-- Workflows that were brought by a call of the processing; finished ones keep that call with their last steps.
-- name: workflows
SELECT u.workflow_id, u.started_at FROM (
    SELECT workflow_id, started_at FROM {schema}.workflow_open WHERE position($1::bytea IN call) > 0
    UNION ALL
    SELECT workflow_id, started_at FROM {schema}.workflow_done
    WHERE started_at >= $2::timestamptz AND position($1::bytea IN steps) > 0
) AS u
ORDER BY u.started_at, u.workflow_id
LIMIT $3::int;

-- name: events
SELECT topic, payload, recorded_at, position
FROM {schema}.outbox
WHERE recorded_at >= $2::timestamptz AND topic <> $3::text AND position($1::bytea IN payload) > 0
ORDER BY outbox_id
LIMIT $4::int;
