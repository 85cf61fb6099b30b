-- name: exchanges_of_processings
SELECT e.exchange_id, e.flush_id, e.ordinal, e.record, e.caller, e.processing_id, s.state, s.version, s.expires_at,
    s.progress
FROM ledger.exchange AS e LEFT JOIN ledger.exchange_state AS s ON s.exchange_id = e.exchange_id
WHERE e.processing_id = ANY ($1::text[])
ORDER BY e.flush_id, e.ordinal

-- name: actions_of_processings
SELECT exchange_id, action_id, record, caller, processing_id
FROM ledger.exchange_action
WHERE processing_id = ANY ($1::text[])
ORDER BY flush_id, ordinal

-- name: actions_of_exchanges
SELECT exchange_id, action_id, record, caller, processing_id
FROM ledger.exchange_action
WHERE exchange_id = ANY ($1::uuid[])
ORDER BY flush_id, ordinal

-- name: exchanges_that_exist
SELECT exchange_id
FROM ledger.exchange
WHERE exchange_id = ANY ($1::uuid[])

-- name: holders_of_accounts
SELECT account_id, owner, account_type, asset
FROM ledger.account
WHERE account_id = ANY ($1::uuid[])
