-- name: payments_of_processings
SELECT payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id, captured_minor,
    refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id, caller,
    created_at, updated_at, expires_at, fee_minor, beneficiary_id, next_action
FROM payment.payment
WHERE processing_id = ANY ($1::text[])
ORDER BY payment_id

-- name: steps_of_processings
SELECT payment_id, sequence, action, state, amount_minor, code, refund_id, processing_id, caller, recorded_at,
    exchange_id, fee_minor, given_back
FROM payment.payment_step
WHERE processing_id = ANY ($1::text[])
ORDER BY payment_id, sequence

-- name: refunds_of_processings
SELECT payment_id, refund_id, state, amount_minor, asset, reason, refusal_code, exchange_id, processing_id, caller,
    created_at, updated_at
FROM payment.refund
WHERE processing_id = ANY ($1::text[])
ORDER BY payment_id, refund_id
