-- name: payments_outside
SELECT p.payment_id, p.kind, p.state, p.busy_with IS NOT NULL AS busy, p.payer_id, p.funding, p.processing_id, e.record,
    x.progress, a.state AS card_state, a.busy_with IS NOT NULL AS card_busy, a.amount_minor AS card_amount,
    a.captured_minor - a.refunded_minor AS card_taken, a.processing_id AS card_processing, a.card_id IS NULL AS unseen,
    EXISTS (
        SELECT o.operation_id FROM cardgateway.card_operation AS o
        WHERE o.authorization_id = p.payment_id AND o.kind = 'void' AND o.state = 'REFUSED'
    ) AS void_refused,
    i.kind AS bank_kind, i.state AS bank_state, i.amount_minor AS bank_amount, i.processing_id AS bank_processing,
    i.updated_at AS bank_ended_at
FROM payment.payment AS p
LEFT JOIN ledger.exchange AS e ON e.exchange_id = p.exchange_id AND substr(e.record, 65, 8) <> 'refused"'::bytea
LEFT JOIN ledger.exchange_state AS x ON x.exchange_id = p.exchange_id
LEFT JOIN cardgateway.card_authorization AS a ON a.authorization_id = p.payment_id
LEFT JOIN bank.instruction AS i ON i.instruction_id = p.payment_id
WHERE a.authorization_id IS NOT NULL OR i.instruction_id IS NOT NULL OR p.funding ~ $1::text OR p.kind = ANY ($2::text[]);

-- name: authorizations_without_payment
SELECT 'card_authorization' AS relation, 'cau_' || encode(uuid_send(o.authorization_id), 'hex') AS key,
    'it was made for a payment that does not exist' AS sentence
FROM cardgateway.card_operation AS o LEFT JOIN payment.payment AS p ON p.payment_id = o.authorization_id
WHERE o.kind = 'authorize' AND o.caller = 'payment' AND p.payment_id IS NULL
LIMIT $1;

-- name: instructions_without_payment
SELECT 'instruction' AS relation,
    CASE i.kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(i.instruction_id), 'hex') AS key,
    'it was given for a payment that does not exist' AS sentence
FROM bank.instruction AS i LEFT JOIN payment.payment AS p ON p.payment_id = i.instruction_id
WHERE i.caller = 'payment' AND p.payment_id IS NULL
LIMIT $1;
