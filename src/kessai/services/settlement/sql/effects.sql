-- name: movements_of_processings
SELECT payment_id, kind, owner_id, counterpart_id, amount_minor, returned_minor, state, code, about, refund_of,
    refund_id, processing_id, caller, asked_at, updated_at
FROM settlement.movement
WHERE processing_id = ANY ($1::text[])
ORDER BY payment_id
