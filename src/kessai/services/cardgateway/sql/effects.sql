-- name: authorizations_of_processings
SELECT a.authorization_id, a.customer_id, a.card_id, a.state, a.version, a.busy_with, a.amount_minor, a.asset,
    a.captured_minor, a.refunded_minor, a.refusal_code, a.action_url, a.reference, a.processing_id, a.created_at,
    a.updated_at, a.caller, a.aborted_at, c.customer_id AS holder_id, c.card_token
FROM cardgateway.card_authorization AS a
LEFT JOIN cardgateway.card AS c ON c.card_id = a.card_id
WHERE a.processing_id = ANY ($1::text[])
ORDER BY a.authorization_id

-- name: operations_of_authorizations
SELECT authorization_id, operation_id, kind, state, amount_minor, final, refusal_code, processing_id, caller,
    instructed_at, settled_at
FROM cardgateway.card_operation
WHERE authorization_id = ANY ($1::uuid[])
ORDER BY authorization_id, sent_at, operation_id

-- name: orphaned_operations
SELECT o.authorization_id, o.operation_id, o.processing_id
FROM cardgateway.card_operation AS o
LEFT JOIN cardgateway.card_authorization AS a ON a.authorization_id = o.authorization_id
WHERE o.processing_id = ANY ($1::text[]) AND a.authorization_id IS NULL
