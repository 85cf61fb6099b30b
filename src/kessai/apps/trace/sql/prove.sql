-- name: business_clock
SELECT offset_us, frozen_at FROM sandbox.clock WHERE id = 1;

-- Every processing that any row of an effect, or the tracer, names.
-- name: processings_after
SELECT u.processing_id FROM (
    (SELECT DISTINCT p.processing_id FROM payment.payment AS p WHERE p.processing_id > $1::text
        ORDER BY p.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT p.processing_id FROM payment.payment_step AS p WHERE p.processing_id > $1::text
        ORDER BY p.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT p.processing_id FROM payment.refund AS p WHERE p.processing_id > $1::text
        ORDER BY p.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT e.processing_id FROM ledger.exchange AS e WHERE e.processing_id > $1::text
        ORDER BY e.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT e.processing_id FROM ledger.exchange_action AS e WHERE e.processing_id > $1::text
        ORDER BY e.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT c.processing_id FROM cardgateway.card_authorization AS c WHERE c.processing_id > $1::text
        ORDER BY c.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT c.processing_id FROM cardgateway.card_operation AS c WHERE c.processing_id > $1::text
        ORDER BY c.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT b.processing_id FROM bank.instruction AS b WHERE b.processing_id > $1::text
        ORDER BY b.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT b.processing_id FROM bank.instruction_step AS b WHERE b.processing_id > $1::text
        ORDER BY b.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT m.processing_id FROM settlement.movement AS m WHERE m.processing_id > $1::text
        ORDER BY m.processing_id LIMIT $2::int)
    UNION (SELECT DISTINCT a.processing_id FROM nfc.id_authorization AS a
        WHERE a.processing_id > $1::text AND a.plan IS NOT NULL ORDER BY a.processing_id LIMIT $2::int)
    UNION (SELECT t.processing_id FROM tracer.processing AS t WHERE t.processing_id > $1::text
        ORDER BY t.processing_id LIMIT $2::int)
) AS u
ORDER BY u.processing_id
LIMIT $2::int;

-- name: processings_known
SELECT count(*) AS known FROM tracer.processing;

-- name: rows_without_processing
SELECT u.relation, u.number FROM (
    SELECT 'payment.payment' AS relation, count(*) AS number FROM payment.payment WHERE processing_id = ''
    UNION ALL SELECT 'payment.payment_step', count(*) FROM payment.payment_step WHERE processing_id = ''
    UNION ALL SELECT 'payment.refund', count(*) FROM payment.refund WHERE processing_id = ''
    UNION ALL SELECT 'ledger.exchange', count(*) FROM ledger.exchange
        WHERE processing_id IS NULL OR processing_id = ''
    UNION ALL SELECT 'ledger.exchange_action', count(*) FROM ledger.exchange_action
        WHERE processing_id IS NULL OR processing_id = ''
    UNION ALL SELECT 'cardgateway.card_authorization', count(*) FROM cardgateway.card_authorization
        WHERE processing_id = ''
    UNION ALL SELECT 'cardgateway.card_operation', count(*) FROM cardgateway.card_operation WHERE processing_id = ''
    UNION ALL SELECT 'bank.instruction', count(*) FROM bank.instruction WHERE processing_id = ''
    UNION ALL SELECT 'bank.instruction_step', count(*) FROM bank.instruction_step WHERE processing_id = ''
    UNION ALL SELECT 'settlement.movement', count(*) FROM settlement.movement WHERE processing_id = ''
    UNION ALL SELECT 'nfc.id_authorization', count(*) FROM nfc.id_authorization WHERE processing_id = ''
) AS u
WHERE u.number > 0
ORDER BY u.relation;

-- The verdicts that stand, and what each participant showed of itself for them.
-- name: standing_verdicts
SELECT p.processing_id, p.revision, p.verdict, p.participants, r.participant, r.effects_digest
FROM tracer.processing AS p
LEFT JOIN tracer.report AS r
    ON r.processing_id = p.processing_id AND r.revision = p.revision AND r.final
WHERE p.processing_id = ANY ($1::text[]);

-- name: unopened_touches
SELECT payload FROM tracer.touch;

-- name: unheard_touches
SELECT o.payload
FROM {schema}.outbox AS o
LEFT JOIN tracer.subscription_cursor AS c ON c.subscription = $2::text
WHERE o.topic = $1::text AND (
    o.position IS NULL
    OR o.position > coalesce(c.position, 0)
    OR (o.position = c.position AND o.event_count > c.handled)
);
