-- name: card_operations
SELECT o.authorization_id, o.operation_id, o.kind, o.amount_minor,
    CASE WHEN o.kind = 'authorize' AND (a.busy_with IS NOT NULL OR a.state = 'VOIDING') THEN 'PENDING'
        WHEN o.kind = 'authorize' AND a.state IN ('REFUSED', 'VOIDED') THEN 'REFUSED' ELSE o.state END AS state
FROM cardgateway.card_operation AS o
JOIN cardgateway.card_authorization AS a ON a.authorization_id = o.authorization_id;

-- name: broken_card_sums
SELECT 'card_authorization' AS relation, 'cau_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    'captured ' || a.captured_minor || ' and refunded ' || a.refunded_minor || ', its operations say '
    || coalesce(s.captured, 0) || ' and ' || coalesce(s.refunded, 0) AS sentence
FROM cardgateway.card_authorization AS a
LEFT JOIN (
    SELECT authorization_id, sum(amount_minor) FILTER (WHERE kind = 'capture' AND state = 'DONE') AS captured,
        sum(amount_minor) FILTER (WHERE kind = 'refund' AND state = 'DONE') AS refunded
    FROM cardgateway.card_operation GROUP BY authorization_id
) AS s ON s.authorization_id = a.authorization_id
WHERE a.captured_minor <> coalesce(s.captured, 0) OR a.refunded_minor <> coalesce(s.refunded, 0)
LIMIT $1;

-- name: broken_card_states
SELECT 'card_authorization' AS relation, 'cau_' || encode(uuid_send(t.authorization_id), 'hex') AS key,
    format('it is %s, its operations make it %s', t.state, t.told) AS sentence
FROM (
    SELECT a.authorization_id, a.state, a.busy_with,
        CASE WHEN s.authorization_id IS NULL THEN 'VOIDED'
            WHEN s.aborted THEN 'VOIDED'
            WHEN s.refused THEN 'REFUSED'
            WHEN s.voided AND a.captured_minor > 0 THEN 'CAPTURED'
            WHEN s.voided THEN 'VOIDED'
            WHEN s.ended OR (a.captured_minor = a.amount_minor AND a.captured_minor > 0) THEN 'CAPTURED'
            WHEN a.aborted_at IS NOT NULL THEN 'VOIDING'
            WHEN a.action_url IS NOT NULL AND NOT s.completed THEN 'REQUIRES_ACTION'
            ELSE 'AUTHORIZED' END AS told
    FROM cardgateway.card_authorization AS a
    LEFT JOIN (
        SELECT authorization_id,
            bool_or(kind = 'authorize' AND state = 'REFUSED' AND refusal_code = 'authorization_voided') AS aborted,
            bool_or(kind IN ('authorize', 'complete') AND state = 'REFUSED' AND refusal_code <> 'action_pending') AS refused,
            bool_or(kind = 'void' AND state = 'DONE') AS voided,
            bool_or(kind = 'capture' AND state = 'DONE' AND final) AS ended,
            bool_or(kind = 'complete' AND state = 'DONE') AS completed
        FROM cardgateway.card_operation GROUP BY authorization_id
    ) AS s ON s.authorization_id = a.authorization_id
) AS t
WHERE t.busy_with IS NULL AND t.state <> t.told
LIMIT $1;

-- name: broken_card_claims
SELECT 'card_authorization' AS relation, 'cau_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    CASE WHEN o.workflow_id IS NULL THEN 'it is claimed by a workflow that is not open'
        ELSE 'it is claimed for an operation that is not under way' END AS sentence
FROM cardgateway.card_authorization AS a
LEFT JOIN cardgateway.workflow_open AS o ON o.workflow_id = encode(uuid_send(a.busy_with), 'hex')
LEFT JOIN cardgateway.card_operation AS p ON p.authorization_id = a.authorization_id AND p.operation_id = a.busy_with
    AND p.state = 'PENDING'
WHERE a.busy_with IS NOT NULL AND (o.workflow_id IS NULL OR p.operation_id IS NULL)
LIMIT $1;

-- name: broken_card_operations
SELECT 'card_operation' AS relation,
    'cau_' || encode(uuid_send(o.authorization_id), 'hex') || '/' || encode(uuid_send(o.operation_id), 'hex') AS key,
    CASE WHEN a.authorization_id IS NULL THEN 'there is no such authorization'
        WHEN o.state = 'PENDING' AND a.busy_with IS DISTINCT FROM o.operation_id THEN 'it is PENDING, but nothing works on it'
        WHEN o.kind = 'authorize' AND o.amount_minor <> a.amount_minor
            THEN format('it is over %s, its authorization over %s', o.amount_minor, a.amount_minor)
        ELSE format('it is %s, settled at %s, with the refusal %s', o.state, o.settled_at, o.refusal_code) END AS sentence
FROM cardgateway.card_operation AS o
LEFT JOIN cardgateway.card_authorization AS a ON a.authorization_id = o.authorization_id
WHERE a.authorization_id IS NULL OR (o.state = 'PENDING' AND a.busy_with IS DISTINCT FROM o.operation_id)
    OR (o.kind = 'authorize' AND (o.amount_minor <> a.amount_minor OR o.operation_id <> o.authorization_id))
    OR (o.state = 'PENDING') <> (o.settled_at IS NULL) OR (o.state = 'REFUSED') <> (o.refusal_code IS NOT NULL)
LIMIT $1;

-- name: strange_authorizations
SELECT 'card_authorization' AS relation, 'cau_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    CASE WHEN c.card_id IS NULL THEN 'there is no such card'
        ELSE format('its customer is %s, its card''s is %s', a.customer_id, c.customer_id) END AS sentence
FROM cardgateway.card_authorization AS a LEFT JOIN cardgateway.card AS c ON c.card_id = a.card_id
WHERE a.card_id IS NOT NULL AND (c.card_id IS NULL OR c.customer_id <> a.customer_id)
LIMIT $1;
