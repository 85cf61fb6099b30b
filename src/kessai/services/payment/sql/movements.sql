-- name: insert_movement
INSERT INTO payment.payment (payment_id, kind, state, version, busy_with, amount_minor, asset, payer_id, payee_id,
    captured_minor, refunded_minor, captures, refunds, funding, refusal_code, exchange_id, details, processing_id,
    caller, created_at, updated_at, expires_at, fee_minor, beneficiary_id, reference)
SELECT u.payment_id, u.kind, 'PENDING', 0, u.busy_with, u.amount_minor, u.asset, u.payer_id, u.payee_id,
    0, 0, 0, 0, '[]', NULL, u.exchange_id, u.details, u.processing_id,
    u.caller, u.created_at, u.created_at, u.expires_at, u.fee_minor, u.beneficiary_id, u.reference
FROM (
    SELECT unnest($1::uuid[]) AS payment_id, unnest($2::text[]) AS kind, unnest($3::uuid[]) AS busy_with,
        unnest($4::bigint[]) AS amount_minor, unnest($5::text[]) AS asset, unnest($6::text[]) AS payer_id,
        unnest($7::text[]) AS payee_id, unnest($8::uuid[]) AS exchange_id, unnest($9::text[]) AS details,
        unnest($10::text[]) AS processing_id, unnest($11::text[]) AS caller, unnest($12::timestamptz[]) AS created_at,
        unnest($13::timestamptz[]) AS expires_at, unnest($14::bigint[]) AS fee_minor,
        unnest($15::text[]) AS beneficiary_id, unnest($16::text[]) AS reference
) AS u
ON CONFLICT (payment_id) DO NOTHING
RETURNING payment_id

-- name: known_movements
SELECT payment_id, kind, payer_id, payee_id, amount_minor, reference, state, refusal_code, busy_with
FROM payment.payment
WHERE payment_id = ANY ($1::uuid[])
