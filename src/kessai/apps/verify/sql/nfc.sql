-- Cards: batches, the pool, the vault, customers' cards, phone numbers, devices.

-- name: broken_batches
SELECT 'issue_batch' AS relation, 'isb_' || encode(uuid_send(b.batch_id), 'hex') AS key,
    CASE WHEN s.batch_id IS NULL THEN 'nothing tells how it came to be'
        WHEN s.first <> 1 OR s.last <> s.steps OR s.last <> b.version
            THEN format('it is in version %s, of its %s steps the last is %s', b.version, s.steps, s.last)
        WHEN s.state <> b.state THEN format('it is %s, its steps make it %s', b.state, s.state)
        WHEN s.requested_at <> b.requested_at OR s.requested_by <> b.requested_by
            THEN 'it was requested at another time, or by somebody else, than its first step says'
        WHEN b.state = 'IMPORTED' AND s.at <> b.imported_at
            THEN 'it was imported at another time than its last step says'
        WHEN b.sent_at < b.requested_at OR (b.state = 'REQUESTED' AND s.last = 1 AND b.sent_at IS NOT NULL)
            OR (b.state IN ('ISSUED', 'IMPORTED') AND b.sent_at IS NULL) THEN 'it cannot have been sent at that time'
        WHEN b.imported <> coalesce(p.cards, 0) OR b.wrong <> coalesce(e.errors, 0)
            THEN format('it tells of %s cards and %s wrong lines, there are %s and %s', b.imported, b.wrong,
                coalesce(p.cards, 0), coalesce(e.errors, 0))
        WHEN b.state = 'IMPORTED' AND b.imported + coalesce(e.lines, 0) < b.count
            THEN format('%s of its %s lines are told of', b.imported + coalesce(e.lines, 0), b.count)
        ELSE 'it has cards before it was imported' END AS sentence
FROM nfc.issue_batch AS b
LEFT JOIN (
    SELECT batch_id, min(version) AS first, max(version) AS last, count(*) AS steps,
        (array_agg(state ORDER BY version DESC))[1] AS state, (array_agg(recorded_at ORDER BY version DESC))[1] AS at,
        (array_agg(recorded_at ORDER BY version))[1] AS requested_at, (array_agg(caller ORDER BY version))[1] AS requested_by
    FROM nfc.issue_step GROUP BY batch_id
) AS s ON s.batch_id = b.batch_id
LEFT JOIN (SELECT batch_id, count(*) AS cards FROM nfc.pool_card GROUP BY batch_id) AS p ON p.batch_id = b.batch_id
LEFT JOIN (
    SELECT e.batch_id, count(*) AS errors, count(DISTINCT e.line) FILTER (
        WHERE e.code IN ('issuer_refused', 'number_wrong', 'expiry_wrong', 'expired', 'card_known', 'line_missing')
            OR (e.code = 'line_unreadable' AND NOT EXISTS (
                SELECT 1 FROM nfc.pool_card AS c WHERE c.batch_id = e.batch_id AND c.line = e.line
            ))
    ) AS lines
    FROM nfc.issue_error AS e GROUP BY e.batch_id
) AS e ON e.batch_id = b.batch_id
WHERE s.batch_id IS NULL OR s.first <> 1 OR s.last <> s.steps OR s.last <> b.version OR s.state <> b.state
    OR s.requested_at <> b.requested_at OR s.requested_by <> b.requested_by
    OR (b.state = 'IMPORTED' AND s.at <> b.imported_at) OR b.sent_at < b.requested_at
    OR (b.state = 'REQUESTED' AND s.last = 1 AND b.sent_at IS NOT NULL)
    OR (b.state IN ('ISSUED', 'IMPORTED') AND b.sent_at IS NULL)
    OR b.imported <> coalesce(p.cards, 0) OR b.wrong <> coalesce(e.errors, 0)
    OR (b.state = 'IMPORTED' AND b.imported + coalesce(e.lines, 0) < b.count)
    OR (b.state <> 'IMPORTED' AND b.imported > 0)
LIMIT $1;

-- name: stray_batch_rows
SELECT r.relation, r.key, r.sentence
FROM (
    SELECT 'issue_step' AS relation, s.batch_id, encode(uuid_send(s.batch_id), 'hex') || '/' || s.version AS key,
        'there is no such batch' AS sentence
    FROM nfc.issue_step AS s
    UNION ALL
    SELECT 'issue_error', e.batch_id, encode(uuid_send(e.batch_id), 'hex') || '/' || e.ordinal, 'there is no such batch'
    FROM nfc.issue_error AS e
    UNION ALL
    SELECT 'pool_card', p.batch_id, p.reference, 'there is no such batch' FROM nfc.pool_card AS p
) AS r
LEFT JOIN nfc.issue_batch AS b ON b.batch_id = r.batch_id
WHERE b.batch_id IS NULL
UNION ALL
SELECT 'issue_error', encode(uuid_send(e.batch_id), 'hex') || '/' || e.ordinal, 'errors of a batch are numbered 1, 2, 3 …'
FROM (
    SELECT batch_id, ordinal, row_number() OVER (PARTITION BY batch_id ORDER BY ordinal) AS place FROM nfc.issue_error
) AS e
WHERE e.ordinal <> e.place
UNION ALL
SELECT 'issue_error', encode(uuid_send(e.batch_id), 'hex') || '/' || e.ordinal,
    format('%s is not what becomes of a line', e.code)
FROM nfc.issue_error AS e
WHERE e.code NOT IN ('issuer_refused', 'line_unreadable', 'line_unknown', 'line_twice', 'line_missing', 'number_wrong',
        'expiry_wrong', 'expired', 'card_known')
    OR (e.reason IS NOT NULL AND e.code <> 'issuer_refused')
UNION ALL
SELECT 'pool_card', encode(uuid_send(p.batch_id), 'hex') || '/' || p.line, format('%s cards came of one line', count(*))
FROM nfc.pool_card AS p GROUP BY p.batch_id, p.line HAVING count(*) > 1
UNION ALL
SELECT 'pool_card', p.reference, 'it came at another time than its batch was imported, or of a line that was wrong'
FROM nfc.pool_card AS p
JOIN nfc.issue_batch AS b ON b.batch_id = p.batch_id
LEFT JOIN nfc.issue_error AS e ON e.batch_id = p.batch_id AND e.line = p.line
    AND e.code IN ('number_wrong', 'expiry_wrong', 'expired', 'card_known', 'issuer_refused', 'line_missing')
WHERE p.imported_at <> b.imported_at OR p.line NOT BETWEEN 1 AND b.count OR e.batch_id IS NOT NULL
LIMIT $1;

-- name: broken_sequences
SELECT 'issue_batch' AS relation, 'isb_' || encode(uuid_send(b.batch_id), 'hex') AS key,
    format('it is number %s of the requests, the one before it %s', b.sequence, b.previous) AS sentence
FROM (
    SELECT batch_id, sequence, lag(sequence, 1, 0::bigint) OVER (ORDER BY sequence) AS previous FROM nfc.issue_batch
) AS b
WHERE b.sequence <> b.previous + 1
    AND NOT EXISTS (SELECT f.feed FROM nfc.feed_place AS f WHERE f.feed = 'issue_requests' AND f.position > 999999)
UNION ALL
SELECT 'feed_place', 'issue_requests', format('%s requests were numbered, there are %s', f.position, t.batches)
FROM (SELECT count(*) AS batches FROM nfc.issue_batch) AS t
LEFT JOIN nfc.feed_place AS f ON f.feed = 'issue_requests'
WHERE coalesce(f.position, 0) <> t.batches
LIMIT $1;

-- name: broken_vault
-- A number's token, the mark that leads to it, and what it is the number of.
SELECT 'pan_vault' AS relation, v.token AS key,
    CASE WHEN l.token IS NULL THEN 'nothing leads to it'
        WHEN l.token <> v.token THEN format('its mark leads to %s', l.token)
        WHEN v.kind = 'card' AND p.token IS NULL THEN 'it is the number of no card of the pool'
        WHEN v.kind = 'device' AND d.token IS NULL THEN 'it is the number of no device'
        WHEN p.cards + coalesce(d.devices, 0) > 1 OR d.devices > 1 THEN 'it is the number of several'
        ELSE 'its last four digits are not those of what it is the number of' END AS sentence
FROM nfc.pan_vault AS v
LEFT JOIN nfc.pan_lookup AS l ON l.fingerprint = v.fingerprint
LEFT JOIN (
    SELECT token, count(*) AS cards, min(last_four) AS last_four FROM nfc.pool_card GROUP BY token
) AS p ON p.token = v.token
LEFT JOIN (
    SELECT token, count(*) AS devices, min(last_four) AS last_four FROM nfc.device WHERE token IS NOT NULL GROUP BY token
) AS d ON d.token = v.token
WHERE l.token IS NULL OR l.token <> v.token OR (v.kind = 'card') <> (p.token IS NOT NULL)
    OR (v.kind = 'device') <> (d.token IS NOT NULL) OR p.cards > 1 OR d.devices > 1
    OR coalesce(p.last_four, d.last_four) <> v.last_four
UNION ALL
SELECT 'pan_lookup', encode(l.fingerprint, 'hex'), format('%s is not the token of that number', l.token)
FROM nfc.pan_lookup AS l
LEFT JOIN nfc.pan_vault AS v ON v.token = l.token AND v.fingerprint = l.fingerprint
WHERE v.token IS NULL
UNION ALL
SELECT 'pool_card', p.reference, 'its number is not in the vault'
FROM nfc.pool_card AS p LEFT JOIN nfc.pan_vault AS v ON v.token = p.token
WHERE v.token IS NULL
UNION ALL
SELECT 'device', 'dev_' || encode(uuid_send(d.device_id), 'hex'), 'its number is not in the vault'
FROM nfc.device AS d LEFT JOIN nfc.pan_vault AS v ON v.token = d.token
WHERE d.token IS NOT NULL AND v.token IS NULL
LIMIT $1;

-- name: broken_pool
-- A card of the pool is a customer's, or nobody's; and the customer's is the pool's.
SELECT 'pool_card' AS relation, p.reference AS key,
    CASE WHEN p.state = 'ASSIGNED' AND c.card_id IS NULL THEN 'it was given to a card that does not exist'
        WHEN p.state = 'FREE' THEN 'it is free, but a customer has it'
        WHEN p.assigned_at <> s.recorded_at THEN 'it was given away at another time than the card''s step says'
        ELSE 'it is not what its customer''s card says' END AS sentence
FROM nfc.pool_card AS p
LEFT JOIN nfc.card AS c ON c.card_id = p.card_id
LEFT JOIN nfc.card AS f ON f.reference = p.reference
LEFT JOIN (SELECT card_id, min(recorded_at) AS recorded_at FROM nfc.card_step WHERE kind = 'assigned' GROUP BY card_id) AS s
    ON s.card_id = c.card_id
WHERE (p.state = 'ASSIGNED') <> (c.card_id IS NOT NULL) OR (p.state = 'FREE' AND f.card_id IS NOT NULL)
    OR (p.state = 'ASSIGNED' AND ((p.reference, p.token, p.last_four, p.expires_on)
            IS DISTINCT FROM (c.reference, c.token, c.last_four, c.expires_on)
        OR p.assigned_at IS DISTINCT FROM s.recorded_at))
UNION ALL
SELECT 'card', 'vpc_' || encode(uuid_send(c.card_id), 'hex'), 'its number was never given to it from the pool'
FROM nfc.card AS c LEFT JOIN nfc.pool_card AS p ON p.reference = c.reference AND p.card_id = c.card_id
WHERE c.reference IS NOT NULL AND p.reference IS NULL
LIMIT $1;

-- name: broken_cards
SELECT 'card' AS relation, 'vpc_' || encode(uuid_send(c.card_id), 'hex') AS key,
    CASE WHEN s.card_id IS NULL THEN 'nothing tells how it came to be'
        WHEN s.first <> 1 OR s.last <> s.steps OR s.last <> c.version
            THEN format('it is in version %s, of its %s steps the last is %s', c.version, s.steps, s.last)
        WHEN s.state <> c.state THEN format('it is %s, its steps make it %s', c.state, s.state)
        WHEN s.created_at <> c.created_at OR s.updated_at <> c.updated_at
            THEN 'it began or changed at another time than its steps say'
        WHEN (s.assigned = 1) <> (c.token IS NOT NULL) OR s.assigned > 1
            THEN format('it was given %s numbers of the pool, and says otherwise', s.assigned)
        WHEN (c.state = 'LOCKED' AND s.lock_reason IS DISTINCT FROM c.lock_reason)
            OR (c.state IN ('PENDING', 'ACTIVE') AND c.lock_reason IS NOT NULL)
            THEN format('it is locked for %s, its steps say %s', c.lock_reason, s.lock_reason)
        WHEN s.replaces IS DISTINCT FROM 'vpc_' || encode(uuid_send(c.replaces), 'hex')
            OR s.replaced_by IS DISTINCT FROM 'vpc_' || encode(uuid_send(c.replaced_by), 'hex')
            THEN 'its steps tell of another card before or after it'
        ELSE 'the card before or after it does not say so, or is another customer''s' END AS sentence
FROM nfc.card AS c
LEFT JOIN (
    SELECT card_id, min(version) AS first, max(version) AS last, count(*) AS steps,
        (array_agg(card_state ORDER BY version DESC))[1] AS state, min(recorded_at) AS created_at,
        (array_agg(recorded_at ORDER BY version DESC))[1] AS updated_at, count(*) FILTER (WHERE kind = 'assigned') AS assigned,
        (array_agg(detail::jsonb ->> 'reason' ORDER BY version DESC) FILTER (WHERE kind = 'locked'))[1] AS lock_reason,
        max(detail::jsonb ->> 'replaces') FILTER (WHERE kind = 'registered') AS replaces,
        max(detail::jsonb ->> 'replaced_by') FILTER (WHERE kind = 'reissued') AS replaced_by
    FROM nfc.card_step GROUP BY card_id
) AS s ON s.card_id = c.card_id
LEFT JOIN nfc.card AS o ON o.card_id = c.replaces
LEFT JOIN nfc.card AS n ON n.card_id = c.replaced_by
WHERE s.card_id IS NULL OR s.first <> 1 OR s.last <> s.steps OR s.last <> c.version OR s.state <> c.state
    OR s.created_at <> c.created_at OR s.updated_at <> c.updated_at
    OR (s.assigned = 1) <> (c.token IS NOT NULL) OR s.assigned > 1
    OR (c.state = 'LOCKED' AND s.lock_reason IS DISTINCT FROM c.lock_reason)
    OR (c.state IN ('PENDING', 'ACTIVE') AND c.lock_reason IS NOT NULL)
    OR s.replaces IS DISTINCT FROM 'vpc_' || encode(uuid_send(c.replaces), 'hex')
    OR s.replaced_by IS DISTINCT FROM 'vpc_' || encode(uuid_send(c.replaced_by), 'hex')
    OR (c.replaces IS NOT NULL AND (o.replaced_by, o.customer_id) IS DISTINCT FROM (c.card_id, c.customer_id))
    OR (c.replaced_by IS NOT NULL AND (n.replaces, n.customer_id) IS DISTINCT FROM (c.card_id, c.customer_id))
LIMIT $1;

-- name: stray_card_rows
SELECT r.relation, r.key, 'there is no such card' AS sentence
FROM (
    SELECT 'card_step' AS relation, card_id, encode(uuid_send(card_id), 'hex') || '/' || version AS key FROM nfc.card_step
    UNION ALL
    SELECT 'phone_check', card_id, encode(uuid_send(card_id), 'hex') FROM nfc.phone_check
    UNION ALL
    SELECT 'device', card_id, 'dev_' || encode(uuid_send(device_id), 'hex') FROM nfc.device
    UNION ALL
    SELECT 'customer_card', card_id, customer_id FROM nfc.customer_card
    UNION ALL
    SELECT 'card_usage', card_id, encode(uuid_send(card_id), 'hex') FROM nfc.card_usage
) AS r
LEFT JOIN nfc.card AS c ON c.card_id = r.card_id
WHERE c.card_id IS NULL
LIMIT $1;

-- name: broken_customer_cards
SELECT 'customer_card' AS relation, coalesce(u.customer_id, c.customer_id) AS key,
    CASE WHEN u.customer_id IS NULL THEN 'it is missing, though the customer has had a card'
        WHEN c.customer_id IS NULL THEN 'the customer never had a card'
        WHEN u.version <> c.cards THEN format('it says that %s cards were registered, there are %s', u.version, c.cards)
        WHEN c.open > 1 THEN format('%s cards of the customer are not closed', c.open)
        ELSE 'it names another card than the one that the customer has' END AS sentence
FROM nfc.customer_card AS u
FULL JOIN (
    SELECT customer_id, count(*) AS cards, count(*) FILTER (WHERE state <> 'CLOSED') AS open,
        array_agg(card_id) FILTER (WHERE state <> 'CLOSED') AS ids, array_agg(card_id) AS all_ids
    FROM nfc.card GROUP BY customer_id
) AS c ON c.customer_id = u.customer_id
WHERE u.customer_id IS NULL OR c.customer_id IS NULL OR u.version <> c.cards OR c.open > 1
    OR u.card_id <> ALL (coalesce(c.ids, c.all_ids))
LIMIT $1;

-- name: broken_card_events
-- Each step is published once, as it is, and the last event of a card is the card.
SELECT 'card_step' AS relation, coalesce(encode(uuid_send(s.card_id), 'hex') || '/' || s.version, e.card_id || '/' || e.version)
        AS key,
    CASE WHEN s.card_id IS NULL THEN 'an event tells of it, and it is not there'
        WHEN e.card_id IS NULL THEN 'no event tells of it'
        ELSE 'its event tells it otherwise' END AS sentence
FROM nfc.card_step AS s
FULL JOIN (
    SELECT substr(t.event ->> 'card_id', 5) AS card_id, (t.event ->> 'version')::bigint AS version, t.event
    FROM nfc.outbox AS o CROSS JOIN LATERAL jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb) AS t (event)
    WHERE o.topic = 'nfc.card'
) AS e ON e.card_id = encode(uuid_send(s.card_id), 'hex') AND e.version = s.version
LEFT JOIN nfc.card AS c ON c.card_id = s.card_id
WHERE s.card_id IS NULL OR e.card_id IS NULL
    OR (e.event ->> 'kind', e.event ->> 'state', (e.event ->> 'occurred_at')::timestamptz, e.event ->> 'device_state')
        IS DISTINCT FROM (s.kind, s.card_state, s.recorded_at, s.device_state)
    OR e.event ->> 'device_id' IS DISTINCT FROM 'dev_' || encode(uuid_send(s.device_id), 'hex')
    OR e.event ->> 'customer_id' IS DISTINCT FROM c.customer_id
    OR (c.version = s.version AND (e.event ->> 'lock_reason', e.event ->> 'last_four', e.event ->> 'expires_on')
        IS DISTINCT FROM (c.lock_reason, c.last_four, c.expires_on::text))
LIMIT $1;

-- name: broken_phones
-- What a phone's codes came to is what the steps say; of a card that was reissued, what the card before it says: also the
-- number's mark, where both are sealed under one key (which the first bytes name).
SELECT 'phone_check' AS relation, 'vpc_' || encode(uuid_send(c.card_id), 'hex') AS key,
    CASE WHEN p.card_id IS NULL THEN 'it is missing'
        WHEN p.attempts > $2::bigint OR p.sends > $3::bigint THEN 'it had more tries or messages than anybody has'
        WHEN p.sends <> s.sends OR p.attempts <> s.attempts
            THEN format('it tells of %s messages and %s wrong codes, its steps of %s and %s', p.sends, p.attempts, s.sends,
                s.attempts)
        WHEN p.verified_at IS DISTINCT FROM s.verified_at THEN 'it was verified at another time than its steps say, or never'
        WHEN (c.token IS NOT NULL) AND p.verified_at IS NULL THEN 'its card is active, and it was never verified'
        ELSE 'its last message is not what its steps say' END AS sentence
FROM nfc.card AS c
LEFT JOIN nfc.phone_check AS p ON p.card_id = c.card_id
JOIN (
    SELECT w.card_id, count(*) FILTER (WHERE w.kind IN ('registered', 'code_sent')) AS sends,
        count(*) FILTER (WHERE w.kind = 'code_tried' AND w.version > w.sent AND NOT (w.detail::jsonb ->> 'verified')::boolean)
            AS attempts,
        max(w.recorded_at) FILTER (WHERE w.kind = 'code_tried' AND (w.detail::jsonb ->> 'verified')::boolean) AS verified_at,
        coalesce((array_agg(w.detail::jsonb ->> 'delivery' ORDER BY w.version DESC)
            FILTER (WHERE w.kind = 'code_delivery' AND w.version > w.sent))[1], 'sending') AS delivery,
        max(w.recorded_at) FILTER (WHERE w.version = w.sent) AS sent_at
    FROM (
        SELECT card_id, kind, version, detail, recorded_at,
            max(version) FILTER (WHERE kind IN ('registered', 'code_sent')) OVER (PARTITION BY card_id) AS sent
        FROM nfc.card_step
    ) AS w GROUP BY w.card_id
) AS s ON s.card_id = c.card_id
WHERE c.replaces IS NULL AND (p.card_id IS NULL OR p.attempts > $2::bigint OR p.sends > $3::bigint OR p.sends <> s.sends
    OR p.attempts <> s.attempts OR p.verified_at IS DISTINCT FROM s.verified_at
    OR (c.token IS NOT NULL AND p.verified_at IS NULL)
    OR p.sent_at <> s.sent_at OR p.expires_at <= p.sent_at
    OR (p.delivery <> s.delivery AND c.state <> 'CLOSED'))
UNION ALL
SELECT 'phone_check', 'vpc_' || encode(uuid_send(c.card_id), 'hex'), 'it is not that of the card which this one replaces'
FROM nfc.card AS c
LEFT JOIN nfc.phone_check AS p ON p.card_id = c.card_id
LEFT JOIN nfc.phone_check AS o ON o.card_id = c.replaces
WHERE c.replaces IS NOT NULL AND (
    CASE WHEN substring(p.sealed FROM 1 FOR 5) = substring(o.sealed FROM 1 FOR 5) THEN p.fingerprint END, p.last_four, p.code_digest, p.sends, p.attempts, p.delivery, p.sent_at,
        p.expires_at, p.verified_at)
    IS DISTINCT FROM (CASE WHEN substring(p.sealed FROM 1 FOR 5) = substring(o.sealed FROM 1 FOR 5) THEN o.fingerprint END,
        o.last_four, o.code_digest, o.sends, o.attempts, o.delivery, o.sent_at, o.expires_at,
        o.verified_at)
LIMIT $1;

-- name: broken_quotas
-- Each message counts once for its number and once for its customer.
SELECT 'sms_quota' AS relation, coalesce(q.day, s.day)::text AS key,
    format('%s messages of the day are counted, %s were sent', coalesce(q.sends, 0), 2 * coalesce(s.sends, 0)) AS sentence
FROM (SELECT day, sum(sends) AS sends, max(sends) AS most FROM nfc.sms_quota GROUP BY day) AS q
FULL JOIN (
    SELECT (s.recorded_at AT TIME ZONE 'Asia/Tokyo')::date AS day, count(*) AS sends
    FROM nfc.card_step AS s
    WHERE s.kind = 'code_sent' OR (s.kind = 'registered' AND s.detail::jsonb ->> 'replaces' IS NULL)
    GROUP BY (s.recorded_at AT TIME ZONE 'Asia/Tokyo')::date
) AS s ON s.day = q.day
WHERE coalesce(q.sends, 0) <> 2 * coalesce(s.sends, 0) OR q.most > $2::bigint
LIMIT $1;

-- name: broken_devices
SELECT 'device' AS relation, 'dev_' || encode(uuid_send(coalesce(d.device_id, s.device_id)), 'hex') AS key,
    CASE WHEN d.device_id IS NULL THEN 'it is missing, though steps tell of it'
        WHEN s.device_id IS NULL THEN 'no step tells of it'
        WHEN d.state <> s.state THEN format('it is %s, its steps make it %s', d.state, s.state)
        WHEN c.state = 'CLOSED' AND d.state <> 'DELETED' THEN 'its card is closed'
        WHEN c.state = 'LOCKED' AND d.state = 'ACTIVE' THEN 'it is active on a card that is locked'
        ELSE 'its steps tell of it otherwise' END AS sentence
FROM nfc.device AS d
FULL JOIN (
    SELECT card_id, device_id, (array_agg(device_state ORDER BY version DESC))[1] AS state,
        (array_agg(detail::jsonb ORDER BY version DESC))[1] AS detail, min(recorded_at) AS created_at,
        (array_agg(recorded_at ORDER BY version DESC))[1] AS updated_at
    FROM nfc.card_step WHERE device_id IS NOT NULL GROUP BY card_id, device_id
) AS s ON s.card_id = d.card_id AND s.device_id = d.device_id
LEFT JOIN nfc.card AS c ON c.card_id = d.card_id
WHERE d.device_id IS NULL OR s.device_id IS NULL OR d.state <> s.state
    OR s.detail ->> 'state' IS DISTINCT FROM d.state OR s.detail ->> 'asked' IS DISTINCT FROM d.pending
    OR s.detail ->> 'suspended_by' IS DISTINCT FROM d.suspended_by
    OR s.detail ->> 'refusal_code' IS DISTINCT FROM d.refusal_code
    OR d.created_at <> s.created_at OR d.updated_at <> s.updated_at
    OR (c.state = 'CLOSED' AND d.state <> 'DELETED') OR (c.state = 'LOCKED' AND d.state = 'ACTIVE')
LIMIT $1;

-- name: vault
SELECT v.token, v.sealed, v.fingerprint, v.last_four, coalesce(p.expires_on, d.expires_on) AS expires_on
FROM nfc.pan_vault AS v
LEFT JOIN nfc.pool_card AS p ON p.token = v.token
LEFT JOIN nfc.device AS d ON d.token = v.token;

-- name: phones
SELECT card_id, sealed, fingerprint, last_four FROM nfc.phone_check;

-- name: terms_of_batches
SELECT batch_id, count, digest FROM nfc.issue_batch;
