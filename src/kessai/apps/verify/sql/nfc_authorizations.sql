-- Authorizations: among themselves, against their events, and against the payments that bear them.

-- name: strange_authorizations
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    CASE WHEN a.kind <> 'clearing' AND a.message_key <> lpad(a.acquirer, 11, '0') || '-' || a.transmitted || '-' || a.stan || '-' || a.rrn
            THEN 'its key is not made of its message''s fields'
        WHEN a.stands_minor <> 0 AND a.state IN ('DECLINED', 'LATE', 'REVERSING', 'REVERSED', 'EXPIRED')
            THEN format('it is %s, and %s of it stand', a.state, a.stands_minor)
        WHEN a.kind = 'tombstone' THEN 'it is a tombstone, and moved something or was answered'
        WHEN a.state = 'DECLINED' THEN 'it was declined, and holds or moved something'
        WHEN a.stood_in AND a.plan IS NULL THEN 'it was approved while nobody could be asked, and nobody is to bear it'
        WHEN (a.work = 'ask' AND a.state <> 'INSTRUCTED') OR (a.work = 'charge' AND a.state NOT IN ('APPROVED', 'CLEARED'))
                OR (a.work = 'capture' AND a.state <> 'CLEARED')
            THEN format('it is %s, and is still to %s', a.state, a.work)
        WHEN a.plan IS NULL THEN 'nothing bears it, and it tells of a payment'
        ELSE 'nothing is to be done for it, and no payment bears it' END AS sentence
FROM nfc.id_authorization AS a
WHERE (a.kind <> 'clearing' AND a.message_key <> lpad(a.acquirer, 11, '0') || '-' || a.transmitted || '-' || a.stan || '-' || a.rrn)
    OR (a.stands_minor <> 0 AND a.state IN ('DECLINED', 'LATE', 'REVERSING', 'REVERSED', 'EXPIRED'))
    OR (a.kind = 'tombstone' AND (a.state <> 'REVERSED' OR a.plan IS NOT NULL OR a.answer IS NOT NULL
        OR a.response IS NOT NULL OR a.approval_code IS NOT NULL))
    OR (a.state = 'DECLINED' AND (a.captured_minor > 0 OR a.payment_state <> 'REFUSED' OR a.refusal_code IS NULL))
    OR (a.stood_in AND a.plan IS NULL)
    OR (a.work = 'ask' AND a.state <> 'INSTRUCTED') OR (a.work = 'charge' AND a.state NOT IN ('APPROVED', 'CLEARED'))
    OR (a.work = 'capture' AND a.state <> 'CLEARED')
    OR (a.plan IS NULL AND (a.payment_id IS NOT NULL OR a.payment_state IS NOT NULL OR a.captured_minor > 0))
    OR (a.plan IS NOT NULL AND a.work IS NULL AND a.payment_id IS NULL AND a.refusal_code IS NULL
        AND a.state IN ('APPROVED', 'CLEARED', 'EXPIRED'))
LIMIT $1;

-- name: unpublished_authorizations
-- The last event of an authorization is the authorization.
SELECT 'id_authorization' AS relation, coalesce('ath_' || encode(uuid_send(a.authorization_id), 'hex'), e.id) AS key,
    CASE WHEN a.authorization_id IS NULL THEN 'events tell of it, and it is not there'
        WHEN e.id IS NULL THEN 'no event tells of it'
        WHEN e.events <> e.versions THEN 'two events of it have one version'
        WHEN (e.last ->> 'version')::bigint <> a.version
            THEN format('it is in version %s, its last event in %s', a.version, e.last ->> 'version')
        ELSE format('it is %s of %s with %s, its last event says %s of %s with %s, or something else of it otherwise', a.state,
            a.amount_minor, a.response, e.last ->> 'state', e.last ->> 'amount_minor', e.last ->> 'response') END AS sentence
FROM nfc.id_authorization AS a
FULL JOIN (
    SELECT t.event ->> 'authorization_id' AS id, count(*) AS events, count(DISTINCT t.event ->> 'version') AS versions,
        (array_agg(t.event ORDER BY (t.event ->> 'version')::bigint DESC))[1] AS last
    FROM nfc.outbox AS o CROSS JOIN LATERAL jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb) AS t (event)
    WHERE o.topic = 'nfc.authorization' GROUP BY t.event ->> 'authorization_id'
) AS e ON e.id = 'ath_' || encode(uuid_send(a.authorization_id), 'hex')
WHERE a.authorization_id IS NULL OR e.id IS NULL OR e.events <> e.versions OR (e.last ->> 'version')::bigint <> a.version
    OR (e.last ->> 'kind', e.last ->> 'state', e.last ->> 'customer_id', e.last ->> 'category', e.last ->> 'mcc',
            e.last ->> 'merchant', e.last ->> 'response', e.last ->> 'refusal_code', e.last ->> 'payment_id',
            e.last ->> 'processing_id', (e.last ->> 'amount_minor')::bigint, (e.last ->> 'stands_minor')::bigint,
            (e.last ->> 'occurred_at')::timestamptz)
        IS DISTINCT FROM (a.kind, a.state, a.customer_id, a.category, a.mcc, a.merchant, a.response, a.refusal_code,
            a.payment_id, a.processing_id, a.amount_minor, a.stands_minor, a.updated_at)
    OR e.last ->> 'card_id' IS DISTINCT FROM 'vpc_' || encode(uuid_send(a.card_id), 'hex')
LIMIT $1;

-- name: authorizations_of_nobody
-- Whose number it was: its card's, or its phone's.
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    CASE WHEN a.token IS NULL THEN 'it is of no number, and names a card'
        WHEN v.token IS NULL THEN format('there is no number %s', a.token)
        WHEN v.last_four <> a.last_four THEN format('its number ends in %s, it says %s', v.last_four, a.last_four)
        ELSE 'its number is not that of its card, phone or customer' END AS sentence
FROM nfc.id_authorization AS a
LEFT JOIN nfc.pan_vault AS v ON v.token = a.token
LEFT JOIN nfc.device AS d ON d.token = a.token
LEFT JOIN nfc.card AS o ON o.token = a.token
LEFT JOIN nfc.card AS c ON c.card_id = a.card_id
WHERE (a.token IS NULL AND (a.card_id IS NOT NULL OR a.customer_id IS NOT NULL OR a.device_id IS NOT NULL OR a.plan IS NOT NULL))
    OR (a.token IS NOT NULL AND (v.token IS NULL OR v.last_four <> a.last_four))
    OR (a.device_id IS NOT NULL AND a.kind <> 'clearing' AND (d.device_id, d.card_id) IS DISTINCT FROM (a.device_id, a.card_id))
    OR (a.card_id IS NOT NULL AND a.device_id IS NULL AND o.card_id IS DISTINCT FROM a.card_id)
    OR (a.card_id IS NOT NULL AND c.customer_id IS DISTINCT FROM a.customer_id)
LIMIT $1;

-- name: authorizations_against_payments
-- $2: what changed since then may not have been heard of yet.
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    CASE WHEN p.payment_id IS NULL THEN format('there is no payment %s', a.payment_id)
        WHEN p.kind <> CASE WHEN a.plan = 'charge' THEN 'id_charge' ELSE 'id_forced' END
            THEN format('its plan is %s, its payment a %s', a.plan, p.kind)
        WHEN p.amount_minor <> a.amount_minor THEN format('it is over %s, its payment over %s', a.amount_minor, p.amount_minor)
        WHEN (p.payer_id, p.processing_id, p.reference, p.caller) IS DISTINCT FROM (a.customer_id, a.processing_id,
                'ath_' || encode(uuid_send(a.authorization_id), 'hex'), 'nfc')
            THEN 'its payment is somebody else''s, of another processing or authorization, or not asked for by this service'
        WHEN (a.payment_state, a.captured_minor, a.refunded_minor) IS DISTINCT FROM
                (p.state, p.captured_minor, p.refunded_minor)
            THEN format('it has its payment as %s with %s captured and %s given back, that is %s with %s and %s', a.payment_state,
                a.captured_minor, a.refunded_minor, p.state, p.captured_minor, p.refunded_minor)
        ELSE format('it is %s with %s standing, its payment %s with %s captured and %s given back', a.state, a.stands_minor,
            p.state, p.captured_minor, p.refunded_minor) END AS sentence
FROM nfc.id_authorization AS a
LEFT JOIN payment.payment AS p ON encode(uuid_send(p.payment_id), 'hex') = substr(a.payment_id, 5)
    AND substr(a.payment_id, 1, 4) = CASE p.kind WHEN 'id_charge' THEN 'idc_' WHEN 'id_forced' THEN 'idf_' END
WHERE a.payment_id IS NOT NULL AND (p.payment_id IS NULL
    OR p.kind <> CASE WHEN a.plan = 'charge' THEN 'id_charge' ELSE 'id_forced' END
    OR p.amount_minor <> a.amount_minor
    OR (p.payer_id, p.processing_id, p.reference, p.caller) IS DISTINCT FROM (a.customer_id, a.processing_id,
        'ath_' || encode(uuid_send(a.authorization_id), 'hex'), 'nfc')
    OR (a.work IS NULL AND p.busy_with IS NULL AND p.updated_at < $2::timestamptz AND (
        (a.payment_state, a.captured_minor, a.refunded_minor) IS DISTINCT FROM (p.state, p.captured_minor, p.refunded_minor)
        OR NOT CASE a.state
            WHEN 'APPROVED' THEN p.state = 'AUTHORIZED' OR (p.state = 'REFUSED' AND a.refusal_code IS NOT NULL)
            WHEN 'DECLINED' THEN p.state = 'REFUSED'
            WHEN 'CLEARED' THEN (p.captured_minor - p.refunded_minor = a.stands_minor AND p.state = 'CAPTURED')
                OR (p.state = 'REFUSED' AND a.refusal_code IS NOT NULL)
            WHEN 'REVERSED' THEN p.state IN ('CANCELED', 'EXPIRED', 'REFUSED')
                OR (p.state = 'CAPTURED' AND p.captured_minor = p.refunded_minor)
            WHEN 'EXPIRED' THEN p.state IN ('CANCELED', 'EXPIRED', 'REFUSED')
            ELSE false END)))
LIMIT $1;

-- name: payments_without_authorization
SELECT 'payment' AS relation, CASE p.kind WHEN 'id_charge' THEN 'idc_' ELSE 'idf_' END || encode(uuid_send(p.payment_id), 'hex')
        AS key,
    format('it is an %s of %s from %s by %s for %s, which does not know it', p.kind, p.amount_minor, p.payer_id, p.caller,
        coalesce(p.reference, 'nothing')) AS sentence
FROM payment.payment AS p
LEFT JOIN nfc.id_authorization AS a ON substr(a.payment_id, 5) = encode(uuid_send(p.payment_id), 'hex')
LEFT JOIN nfc.id_refused_payment AS f ON substr(f.payment_id, 5) = encode(uuid_send(p.payment_id), 'hex')
LEFT JOIN nfc.id_authorization AS o ON 'ath_' || encode(uuid_send(o.authorization_id), 'hex') = p.reference
    AND o.customer_id = p.payer_id AND o.amount_minor = p.amount_minor AND o.processing_id = p.processing_id
WHERE p.kind IN ('id_charge', 'id_forced') AND a.authorization_id IS NULL AND f.authorization_id IS NULL
    AND NOT (o.authorization_id IS NOT NULL AND p.caller = 'nfc'
        AND (o.work IS NOT NULL OR p.busy_with IS NOT NULL))
UNION ALL
SELECT 'payment', 'idr_' || encode(uuid_send(p.payment_id), 'hex'),
    format('%s has paid %s back in all, of %s that the network''s payments owed', p.payer_id, b.amount_minor,
        coalesce(o.amount_minor, 0))
FROM payment.payment AS p
JOIN (
    SELECT payer_id, sum(captured_minor - refunded_minor) AS amount_minor FROM payment.payment
    WHERE kind = 'id_repayment' GROUP BY payer_id
) AS b ON b.payer_id = p.payer_id
LEFT JOIN (
    SELECT y.payer_id, sum((s.part ->> 'amount_minor')::bigint) AS amount_minor
    FROM payment.payment AS y CROSS JOIN LATERAL jsonb_array_elements(y.funding::jsonb) AS s (part)
    WHERE y.kind = 'id_forced' AND y.state <> 'REFUSED' AND s.part ->> 'source' = 'id_claims' GROUP BY y.payer_id
) AS o ON o.payer_id = p.payer_id
WHERE p.kind = 'id_repayment' AND b.amount_minor > coalesce(o.amount_minor, 0)
LIMIT $1;

-- name: broken_refused_payments
SELECT 'id_refused_payment' AS relation, 'ath_' || encode(uuid_send(f.authorization_id), 'hex') || '/' || f.payment_id AS key,
    CASE WHEN a.authorization_id IS NULL THEN 'there is no such authorization'
        WHEN a.payment_id = f.payment_id THEN 'it bears the authorization'
        WHEN p.payment_id IS NULL THEN 'there is no such payment of that plan for it'
        ELSE format('the payment is %s', p.state) END AS sentence
FROM nfc.id_refused_payment AS f
LEFT JOIN nfc.id_authorization AS a ON a.authorization_id = f.authorization_id
LEFT JOIN payment.payment AS p ON encode(uuid_send(p.payment_id), 'hex') = substr(f.payment_id, 5)
    AND p.reference = 'ath_' || encode(uuid_send(f.authorization_id), 'hex') AND p.caller = 'nfc'
    AND p.kind = CASE WHEN f.plan = 'charge' THEN 'id_charge' ELSE 'id_forced' END
WHERE a.authorization_id IS NULL OR a.plan IS NULL OR a.payment_id = f.payment_id OR p.payment_id IS NULL
    OR p.state <> 'REFUSED'
LIMIT $1;

-- name: broken_refunds
SELECT 'id_refund' AS relation,
    coalesce(f.refund_id, r.refund_id) AS key,
    CASE WHEN a.authorization_id IS NULL AND r.refund_id IS NULL THEN 'there is no such authorization, or no such refund'
        WHEN r.refund_id IS NULL THEN 'its authorization''s payment has no such refund'
        WHEN f.refund_id IS NULL THEN 'it was given back by the payment service, and is not told of here'
        ELSE format('it is %s of %s, the payment service has %s of %s', f.state, f.amount_minor, r.state, r.amount_minor) END
        AS sentence
FROM nfc.id_refund AS f
LEFT JOIN nfc.id_authorization AS a ON a.authorization_id = f.authorization_id
FULL JOIN (
    SELECT 'rfn_' || encode(uuid_send(b.refund_id), 'hex') AS refund_id, b.amount_minor, b.state, b.updated_at,
        encode(uuid_send(b.payment_id), 'hex') AS payment_id, o.work IS NOT NULL AS under_way
    FROM payment.refund AS b
    JOIN payment.payment AS y ON y.payment_id = b.payment_id AND y.kind IN ('id_charge', 'id_forced')
    LEFT JOIN nfc.id_authorization AS o ON substr(o.payment_id, 5) = encode(uuid_send(b.payment_id), 'hex')
) AS r ON r.refund_id = f.refund_id AND r.payment_id = substr(a.payment_id, 5)
WHERE r.refund_id IS NULL OR (f.refund_id IS NULL AND NOT r.under_way AND r.state <> 'REFUSED' AND r.updated_at < $2::timestamptz)
    OR (f.state, f.amount_minor) IS DISTINCT FROM (r.state, r.amount_minor) AND f.refund_id IS NOT NULL
LIMIT $1;

-- name: exchanges_outside
-- Value that moved to or from what the network is owed, or what customers owe for it, for no payment by its cards.
SELECT 'exchange' AS relation, 'exc_' || encode(uuid_send(x.exchange_id), 'hex') AS key,
    format('it moved %s of %s, for no payment by a card of the network', x.amount, x.account_type) AS sentence
FROM (
    SELECT g.exchange_id, c.account_type, sum(g.amount) AS amount
    FROM ledger.account AS c JOIN ledger.hot_log AS g ON g.account_id = c.account_id
    WHERE c.account_type IN ('network_payable', 'id_claims') GROUP BY g.exchange_id, c.account_type
    UNION ALL
    SELECT g.exchange_id, c.account_type, sum(g.amount)
    FROM ledger.account AS c JOIN ledger.account_log AS g ON g.account_id = c.account_id
    WHERE c.account_type IN ('network_payable', 'id_claims') GROUP BY g.exchange_id, c.account_type
    UNION ALL
    SELECT h.exchange_id, 'network_payable', 0
    FROM ledger.exchange_state AS h JOIN ledger.exchange AS e ON e.exchange_id = h.exchange_id
    JOIN ledger.account AS c ON c.account_type = 'network_payable'
    WHERE h.is_held AND position(convert_to('acc_' || encode(uuid_send(c.account_id), 'hex'), 'UTF8') IN e.record) > 0
) AS x
LEFT JOIN (
    SELECT p.exchange_id FROM payment.payment AS p WHERE p.kind IN ('id_charge', 'id_forced', 'id_repayment')
    UNION
    SELECT r.exchange_id FROM payment.refund AS r
    JOIN payment.payment AS p ON p.payment_id = r.payment_id AND p.kind IN ('id_charge', 'id_forced', 'id_repayment')
    UNION
    SELECT s.exchange_id FROM payment.payment_step AS s
    JOIN payment.payment AS p ON p.payment_id = s.payment_id AND p.kind IN ('id_charge', 'id_forced', 'id_repayment')
    WHERE s.exchange_id IS NOT NULL
) AS k ON k.exchange_id = x.exchange_id
WHERE k.exchange_id IS NULL
LIMIT $1;

-- name: broken_reversals
-- What took an authorization back, and what of it stands.
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    CASE WHEN a.kind = 'tombstone' THEN 'no reversal came before it'
        WHEN a.state IN ('REVERSING', 'REVERSED') THEN format('it is %s, and no reversal took all of it back', a.state)
        ELSE format('%s of it stand, its reversals leave %s', a.stands_minor, coalesce(r.stands, a.amount_minor)) END AS sentence
FROM nfc.id_authorization AS a
LEFT JOIN (
    SELECT authorization_id, min(stands_minor) FILTER (WHERE response = '00') AS stands,
        count(*) FILTER (WHERE response = '25') AS before
    FROM nfc.id_reversal GROUP BY authorization_id
) AS r ON r.authorization_id = a.authorization_id
LEFT JOIN (
    SELECT authorization_id FROM nfc.clearing_finding WHERE remedy = 'let_go'
    UNION
    SELECT authorization_id FROM nfc.clearing_line WHERE kind = 'V' AND moved_minor > 0
    UNION
    SELECT unnest(borne_by) FROM nfc.clearing_sale
) AS g ON g.authorization_id = a.authorization_id
WHERE (a.kind = 'tombstone' AND coalesce(r.before, 0) = 0)
    OR (a.state IN ('REVERSING', 'REVERSED') AND a.kind <> 'tombstone' AND a.kind <> 'clearing'
        AND a.response IS DISTINCT FROM '91' AND r.stands IS DISTINCT FROM 0 AND g.authorization_id IS NULL)
    OR (a.state IN ('APPROVED', 'INSTRUCTED') AND g.authorization_id IS NULL AND a.stands_minor <> least(a.amount_minor, coalesce(r.stands, a.amount_minor)))
    OR (a.state = 'CLEARED' AND a.amount_minor > 0 AND r.stands = 0)
UNION ALL
SELECT 'id_authorization', e.id, format('%s of it stood once, and no reversal left that', e.stands_minor)
FROM (
    SELECT DISTINCT t.event ->> 'authorization_id' AS id, (t.event ->> 'stands_minor')::bigint AS stands_minor
    FROM nfc.outbox AS o CROSS JOIN LATERAL jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb) AS t (event)
    WHERE o.topic = 'nfc.authorization' AND t.event ->> 'state' IN ('APPROVED', 'INSTRUCTED')
        AND (t.event ->> 'stands_minor')::bigint < (t.event ->> 'amount_minor')::bigint
) AS e
LEFT JOIN nfc.id_reversal AS v ON 'ath_' || encode(uuid_send(v.authorization_id), 'hex') = e.id AND v.response = '00'
    AND v.stands_minor = e.stands_minor
LEFT JOIN nfc.clearing_finding AS g ON 'ath_' || encode(uuid_send(g.authorization_id), 'hex') = e.id AND g.remedy = 'let_go'
WHERE v.authorization_id IS NULL AND g.authorization_id IS NULL
UNION ALL
SELECT 'id_reversal', 'ath_' || encode(uuid_send(v.authorization_id), 'hex') || '/' || encode(uuid_send(v.reversal_id), 'hex'),
    CASE WHEN a.authorization_id IS NULL THEN 'there is no such authorization'
        ELSE format('it was answered %s for leaving %s of %s', v.response, v.stands_minor, a.amount_minor) END
FROM nfc.id_reversal AS v LEFT JOIN nfc.id_authorization AS a ON a.authorization_id = v.authorization_id
WHERE a.authorization_id IS NULL OR v.response NOT IN ('00', '12', '13', '25') OR (v.response = '25') <> (a.kind = 'tombstone')
    OR (v.response = '00' AND v.stands_minor > a.amount_minor)
    OR (v.response = '00' AND v.stands_minor < a.stands_minor)
LIMIT $1;

-- name: broken_usages
-- What a card has paid on its day and in its month. Between what stands for certain and what stood at most lies what a
-- clearing, or a reversal after it, may have taken away. What has expired counts no more.
SELECT 'card_usage' AS relation, 'vpc_' || encode(uuid_send(t.card_id), 'hex') AS key,
    CASE WHEN t.version IS NULL THEN 'it is missing, though the card has paid'
        WHEN t.payments = 0 THEN 'the card has never paid'
        ELSE format('%s payments of %s on the day and %s in the month are counted, there were %s of %s and %s', t.day_count,
            t.day_minor, t.month_minor, t.count_most, t.day_most, t.month_most) END AS sentence
FROM (
    SELECT coalesce(u.card_id, a.card_id) AS card_id, max(u.version) AS version, max(u.day) AS day,
        max(u.day_minor) AS day_minor, max(u.day_count) AS day_count, max(u.month_minor) AS month_minor,
        count(a.card_id) AS payments, max(a.day) AS last_day,
        count(*) FILTER (WHERE a.day = u.day AND a.least_count > 0) AS count_least,
        count(*) FILTER (WHERE a.day = u.day AND a.most_count > 0) AS count_most,
        coalesce(sum(a.least) FILTER (WHERE a.day = u.day), 0) AS day_least,
        coalesce(sum(a.most) FILTER (WHERE a.day = u.day), 0) AS day_most,
        coalesce(sum(a.least) FILTER (WHERE date_trunc('month', a.day::timestamp) = date_trunc('month', u.day::timestamp)), 0)
            AS month_least,
        coalesce(sum(a.most) FILTER (WHERE date_trunc('month', a.day::timestamp) = date_trunc('month', u.day::timestamp)), 0)
            AS month_most
    FROM nfc.card_usage AS u
    FULL JOIN (
        SELECT o.card_id, (o.received_at AT TIME ZONE 'Asia/Tokyo')::date AS day,
            CASE WHEN o.state IN ('INSTRUCTED', 'APPROVED') OR (o.state = 'CLEARED' AND o.stands_minor > 0) THEN 1
                ELSE 0 END AS least_count,
            CASE WHEN o.state IN ('INSTRUCTED', 'APPROVED', 'CLEARED') OR c.authorization_id IS NOT NULL THEN 1
                ELSE 0 END AS most_count,
            CASE WHEN o.state IN ('INSTRUCTED', 'APPROVED', 'CLEARED') THEN o.stands_minor ELSE 0 END AS least,
            CASE WHEN o.state IN ('INSTRUCTED', 'APPROVED') THEN o.stands_minor
                WHEN c.authorization_id IS NOT NULL THEN least(o.amount_minor, c.amount_minor) ELSE 0 END AS most
        FROM nfc.id_authorization AS o
        LEFT JOIN (
            SELECT borne_by[1] AS authorization_id, max(amount_minor) AS amount_minor
            FROM nfc.clearing_sale GROUP BY borne_by[1]
        ) AS c ON c.authorization_id = o.authorization_id
        WHERE o.kind = 'purchase' AND o.plan IS NOT NULL AND o.card_id IS NOT NULL
    ) AS a ON a.card_id = u.card_id
    GROUP BY coalesce(u.card_id, a.card_id)
) AS t
WHERE t.version IS NULL OR t.payments = 0 OR t.last_day > t.day
    OR t.day_count NOT BETWEEN t.count_least AND t.count_most
    OR t.day_minor NOT BETWEEN t.day_least AND t.day_most OR t.month_minor NOT BETWEEN t.month_least AND t.month_most
LIMIT $1;

-- name: instants_of_cards
SELECT u.card_id, u.recent, a.instants
FROM nfc.card_usage AS u
LEFT JOIN (
    SELECT card_id, array_agg(received_at ORDER BY received_at DESC) AS instants FROM nfc.id_authorization
    WHERE kind = 'purchase' AND plan IS NOT NULL GROUP BY card_id
) AS a ON a.card_id = u.card_id;

-- name: work_left
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    format('it has been %s since %s, and is still to %s', a.state, a.work_since, a.work) AS sentence
FROM nfc.id_authorization AS a
WHERE a.work IS NOT NULL AND a.work_since < $2::timestamptz
LIMIT $1;

-- name: answers
SELECT authorization_id, message_key, kind, state, amount_minor, currency, stan, transmitted, rrn, acquirer, processing_code,
    terminal, merchant, response, approval_code, answer
FROM nfc.id_authorization;

-- name: reversals
SELECT authorization_id, reversal_id, mti, response, answer FROM nfc.id_reversal;

-- name: for_network
-- What was cleared of each, less what was given back for the same sale; disputed: a finding tells of it.
SELECT a.message_key, a.kind, a.state, a.work, a.response, a.amount_minor, a.stands_minor,
    coalesce(c.cleared_minor, 0)::bigint AS cleared_minor, f.authorization_id IS NOT NULL AS disputed
FROM nfc.id_authorization AS a
LEFT JOIN (
    SELECT s.borne_by[1] AS authorization_id, sum(s.amount_minor - coalesce(b.moved_minor, 0)) AS cleared_minor
    FROM nfc.clearing_sale AS s
    LEFT JOIN (
        SELECT reference, sum(moved_minor) AS moved_minor FROM nfc.clearing_line WHERE kind IN ('R', 'V') GROUP BY reference
    ) AS b ON b.reference = s.reference
    GROUP BY s.borne_by[1]
) AS c ON c.authorization_id = a.authorization_id
LEFT JOIN (SELECT DISTINCT authorization_id FROM nfc.clearing_finding) AS f ON f.authorization_id = a.authorization_id
WHERE a.kind <> 'clearing';

-- name: files_done
-- Clearing files of which every line is decided, or of which no line is taken.
SELECT file_id FROM nfc.clearing_file WHERE state <> 'TAKEN';
