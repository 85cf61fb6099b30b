-- name: payouts_to_clear
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE p.state = 'MADE' AND s.last_day <= $1 AND (p.payee_id, p.payout_id) > ($2, $3::uuid)
ORDER BY p.payee_id, p.payout_id
LIMIT $4

-- name: payouts_to_instruct
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE (p.state = 'CLEARED' OR (p.state = 'HELD' AND p.reason NOT LIKE 'operator%')) AND p.instruct_on <= $1
    AND (p.payee_id, p.payout_id) > ($2, $3::uuid)
ORDER BY p.payee_id, p.payout_id
LIMIT $4

-- name: payouts_instructed
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
LEFT JOIN settlement.movement AS m ON m.payment_id = p.payment_id
WHERE p.state = 'INSTRUCTED' AND (m.payment_id IS NULL OR m.state = 'ASKED')
    AND (p.payee_id, p.payout_id) > ($1, $2::uuid)
ORDER BY p.payee_id, p.payout_id
LIMIT $3

-- name: fees_to_return
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
JOIN settlement.movement AS m ON m.payment_id = p.fee_payment_id
WHERE p.state IN ('FAILED', 'RETURNED') AND p.taken_by IS NULL AND m.state = 'CAPTURED' AND m.returned_minor = 0
    AND (p.payee_id, p.payout_id) > ($1, $2::uuid)
ORDER BY p.payee_id, p.payout_id
LIMIT $3

-- name: fees_still_asked
SELECT p.fee_payment_id
FROM settlement.payout AS p
JOIN settlement.movement AS m ON m.payment_id = p.fee_payment_id
WHERE p.state IN ('FAILED', 'RETURNED') AND p.taken_by IS NULL AND m.state = 'ASKED'
ORDER BY p.payee_id, p.payout_id
LIMIT $1

-- name: fees_to_charge_again
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
JOIN settlement.movement AS m ON m.payment_id = p.fee_payment_id
WHERE p.reason IN ('paid_after_all:transfer_fee_given_back', 'paid_after_all:transfer_fee_asked') AND p.state = 'PAID'
    AND (p.reason = 'paid_after_all:transfer_fee_asked' OR m.returned_minor > 0)
ORDER BY p.payee_id, p.payout_id
LIMIT $1

-- name: payouts_by_id
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE p.payout_id = ANY ($1::uuid[])

-- name: payouts_of_payments
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE p.payment_id = ANY ($1::text[])

-- name: payouts_of_cycle
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE p.payee_id = $1 AND p.cycle_id = $2
ORDER BY p.part

-- name: payouts_listed
SELECT p.payee_id, p.payout_id, p.cycle_id, p.state, p.reason, p.cleared_minor, p.carried_minor, p.failed_minor,
    p.offset_minor, p.payable_minor, p.transfer_fee_minor, p.amount_minor, p.claim_minor, p.pay_on, p.instruct_on,
    p.bank_account_id, p.payment_id, p.fee_payment_id, p.offset_payment_id, p.carried_from, p.taken_by,
    CASE WHEN p.paid_on IS NOT NULL THEN coalesce(p.value_on, p.paid_on) END AS paid_on,
    p.version, p.made_at, p.updated_at, s.last_day, s.terms, s.shortfall_minor
FROM settlement.payout AS p
JOIN settlement.sales_summary AS s ON s.payee_id = p.payee_id AND s.cycle_id = p.cycle_id
WHERE ($1::text IS NULL OR p.payee_id = $1) AND ($2::text IS NULL OR p.state = $2)
    AND ($3::date IS NULL OR p.pay_on = $3) AND (p.made_at, p.payout_id) < ($4::timestamptz, $5::uuid)
ORDER BY p.made_at DESC, p.payout_id DESC
LIMIT $6

-- name: change_payouts
UPDATE settlement.payout AS p
SET state = u.state, reason = u.reason, offset_minor = u.offset_minor, payable_minor = u.payable_minor,
    transfer_fee_minor = u.transfer_fee_minor, amount_minor = u.amount_minor, claim_minor = u.claim_minor,
    pay_on = u.pay_on, instruct_on = u.instruct_on, bank_account_id = u.bank_account_id, payment_id = u.payment_id,
    fee_payment_id = u.fee_payment_id, offset_payment_id = u.offset_payment_id, paid_on = u.paid_on,
    version = u.version, updated_at = u.updated_at
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[],
    $8::bigint[], $9::bigint[], $10::date[], $11::date[], $12::text[], $13::text[], $14::text[], $15::text[],
    $16::date[], $17::bigint[], $18::timestamptz[])
    AS u (payee_id, payout_id, state, reason, offset_minor, payable_minor, transfer_fee_minor, amount_minor,
    claim_minor, pay_on, instruct_on, bank_account_id, payment_id, fee_payment_id, offset_payment_id, paid_on, version,
    updated_at)
WHERE p.payee_id = u.payee_id AND p.payout_id = u.payout_id AND p.version = u.version - 1
RETURNING p.payout_id

-- name: insert_payout_steps
INSERT INTO settlement.payout_step (payee_id, payout_id, sequence, state, reason, recorded_at)
SELECT u.payee_id, u.payout_id, u.sequence, u.state, u.reason, u.recorded_at
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[])
    AS u (payee_id, payout_id, sequence, state, reason, recorded_at)

-- name: steps_of_payout
SELECT sequence, state, reason, recorded_at
FROM settlement.payout_step
WHERE payee_id = $1 AND payout_id = $2
ORDER BY sequence

-- name: unmade_sum
SELECT count(*) AS payouts, coalesce(sum(p.amount_minor), 0)::bigint AS amount_minor
FROM settlement.payout AS p
WHERE p.state = 'CLEARED' AND p.instruct_on <= $1

-- name: open_claims
SELECT payee_id, claim_id, cycle_id, amount_minor, offset_minor, collected_minor, pending_minor, state, due_on, version,
    made_at
FROM settlement.claim
WHERE payee_id = ANY ($1::text[]) AND state = 'OPEN'
ORDER BY payee_id, due_on, made_at, claim_id

-- name: debtors
SELECT o.payee_id, o.cycle_id, o.merchant_id, (o.net_minor - coalesce(sum(c.amount_minor), 0))::bigint AS room_minor
FROM (
    SELECT s.payee_id, s.cycle_id, d.merchant_id, sum(d.net_minor)::bigint AS net_minor
    FROM unnest($1::text[], $2::uuid[]) AS u (payee_id, cycle_id)
    JOIN settlement.sales_summary AS s ON s.payee_id = u.payee_id AND s.cycle_id = u.cycle_id
    JOIN settlement.daily_summary AS d ON d.payee_id = s.payee_id AND d.cycle_id = s.cycle_id
        AND d.day BETWEEN s.first_day AND s.last_day
    WHERE d.merchant_id <> d.payee_id AND EXISTS (
        SELECT w.claim_id FROM settlement.claim AS w WHERE w.payee_id = d.merchant_id AND w.state = 'OPEN'
    )
    GROUP BY s.payee_id, s.cycle_id, d.merchant_id
    HAVING sum(d.net_minor) > 0
) AS o
LEFT JOIN (
    SELECT p.payee_id, p.amount_minor, y.payee_id AS collector_id, y.cycle_id
    FROM settlement.claim_part AS p
    JOIN settlement.movement AS m ON m.payment_id = p.payment_id
    JOIN settlement.payout AS y ON y.payee_id = m.owner_id
        AND m.about = 'payout:' || replace(y.payout_id::text, '-', '')
    WHERE p.kind = 'offset' AND p.state <> 'REFUSED'
) AS c ON c.payee_id = o.merchant_id AND c.collector_id = o.payee_id AND c.cycle_id = o.cycle_id
GROUP BY o.payee_id, o.cycle_id, o.merchant_id, o.net_minor
ORDER BY o.payee_id, o.cycle_id, o.merchant_id

-- name: claims_by_id
SELECT payee_id, claim_id, cycle_id, amount_minor, offset_minor, collected_minor, pending_minor, state, due_on, version,
    made_at
FROM settlement.claim
WHERE claim_id = ANY ($1::uuid[])

-- name: claims_listed
SELECT payee_id, claim_id, cycle_id, amount_minor, offset_minor, collected_minor, pending_minor, state, due_on, version,
    made_at
FROM settlement.claim
WHERE ($1::text IS NULL OR payee_id = $1) AND ($2::text IS NULL OR state = $2)
    AND (made_at, claim_id) < ($3::timestamptz, $4::uuid)
ORDER BY made_at DESC, claim_id DESC
LIMIT $5

-- name: insert_claims
INSERT INTO settlement.claim (payee_id, claim_id, cycle_id, amount_minor, offset_minor, collected_minor, state, due_on,
    version, made_at)
SELECT u.payee_id, u.claim_id, u.cycle_id, u.amount_minor, 0, 0, 'OPEN', u.due_on, 1, u.made_at
FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::bigint[], $5::date[], $6::timestamptz[])
    AS u (payee_id, claim_id, cycle_id, amount_minor, due_on, made_at)
ON CONFLICT DO NOTHING
RETURNING payee_id, claim_id

-- name: change_claims
UPDATE settlement.claim AS c
SET offset_minor = u.offset_minor, collected_minor = u.collected_minor, pending_minor = u.pending_minor,
    state = u.state, version = u.version
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[])
    AS u (payee_id, claim_id, offset_minor, collected_minor, pending_minor, state, version, was)
WHERE c.payee_id = u.payee_id AND c.claim_id = u.claim_id AND c.version = u.was
RETURNING c.claim_id

-- name: insert_claim_steps
INSERT INTO settlement.claim_step (payee_id, claim_id, sequence, kind, amount_minor, payment_id, recorded_at)
SELECT u.payee_id, u.claim_id, u.sequence, u.kind, u.amount_minor, u.payment_id, u.recorded_at
FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::timestamptz[])
    AS u (payee_id, claim_id, sequence, kind, amount_minor, payment_id, recorded_at)

-- name: steps_of_claim
SELECT sequence, kind, amount_minor, payment_id, recorded_at
FROM settlement.claim_step
WHERE payee_id = $1 AND claim_id = $2
ORDER BY sequence

-- name: insert_claim_parts
INSERT INTO settlement.claim_part (payee_id, claim_id, payment_id, kind, amount_minor, state, asked_at, updated_at)
SELECT u.payee_id, u.claim_id, u.payment_id, u.kind, u.amount_minor, 'ASKED', u.asked_at, u.asked_at
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[])
    AS u (payee_id, claim_id, payment_id, kind, amount_minor, asked_at)
ON CONFLICT DO NOTHING
RETURNING payment_id

-- name: parts_asked
SELECT payee_id, claim_id, payment_id, kind, amount_minor
FROM settlement.claim_part
WHERE payment_id = ANY ($1::text[]) AND state = 'ASKED'
ORDER BY payee_id, claim_id, payment_id

-- name: parts_by_payment
SELECT payee_id, claim_id, payment_id, kind, amount_minor, state, code
FROM settlement.claim_part
WHERE payment_id = $1

-- name: end_claim_parts
UPDATE settlement.claim_part AS c
SET state = u.state, code = u.code, updated_at = $6
FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[])
    AS u (payee_id, claim_id, payment_id, state, code)
WHERE c.payee_id = u.payee_id AND c.claim_id = u.claim_id AND c.payment_id = u.payment_id AND c.state = 'ASKED'
RETURNING c.payee_id, c.claim_id, c.payment_id

-- name: movements_known
SELECT payment_id, state, code, processing_id, amount_minor, returned_minor
FROM settlement.movement
WHERE payment_id = ANY ($1::text[])

-- name: is_given_back
SELECT EXISTS (
    SELECT payment_id FROM settlement.movement WHERE refund_of = $1::text AND state <> 'REFUSED'
) AS back

-- name: refunds_refused
SELECT refund_of, count(*) AS refused
FROM settlement.movement
WHERE refund_of = ANY ($1::text[]) AND state = 'REFUSED'
GROUP BY refund_of

-- name: note_answers
UPDATE settlement.movement AS m
SET state = u.state, code = u.code, updated_at = $4
FROM unnest($1::text[], $2::text[], $3::text[]) AS u (payment_id, state, code)
WHERE m.payment_id = u.payment_id AND m.state = 'ASKED'
RETURNING m.payment_id

-- name: note_value_dates
UPDATE settlement.payout AS p
SET value_on = u.value_on
FROM unnest($1::text[], $2::date[]) AS u (payment_id, value_on)
WHERE p.payment_id = u.payment_id
