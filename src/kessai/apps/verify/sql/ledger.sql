-- Streams: what each flush wrote, one row a flush and one array a column, in order of flush.

-- name: size
SELECT coalesce(sum(effects), 0)::bigint AS effects, count(*) AS flushes FROM ledger.flush;

-- name: flushes
SELECT flush_id, slot, epoch, sequence, effects, digest, seal, expected FROM ledger.flush ORDER BY flush_id;

-- name: exchanges_by_flush
SELECT flush_id, array_agg(ordinal ORDER BY ordinal) AS ordinals,
    array_agg('exc_' || encode(uuid_send(exchange_id), 'hex') ORDER BY ordinal) AS exchange_ids,
    array_agg(record ORDER BY ordinal) AS records, array_agg(digest ORDER BY ordinal) AS digests,
    array_agg(caller ORDER BY ordinal) AS callers, array_agg(processing_id ORDER BY ordinal) AS processing_ids
FROM ledger.exchange GROUP BY flush_id ORDER BY flush_id;

-- name: actions_by_flush
SELECT flush_id, array_agg(ordinal ORDER BY ordinal) AS ordinals,
    array_agg('exc_' || encode(uuid_send(exchange_id), 'hex') ORDER BY ordinal) AS exchange_ids,
    array_agg('act_' || encode(uuid_send(action_id), 'hex') ORDER BY ordinal) AS action_ids,
    array_agg(record ORDER BY ordinal) AS records,
    array_agg(caller ORDER BY ordinal) AS callers, array_agg(processing_id ORDER BY ordinal) AS processing_ids
FROM ledger.exchange_action GROUP BY flush_id ORDER BY flush_id;

-- name: events_by_flush
SELECT flush_id, array_agg(ordinal ORDER BY ordinal) AS ordinals,
    array_agg('acc_' || encode(uuid_send(account_id), 'hex') ORDER BY ordinal) AS account_ids,
    array_agg(version ORDER BY ordinal) AS versions, array_agg(event ORDER BY ordinal) AS events,
    array_agg(record ORDER BY ordinal) AS records
FROM ledger.account_event GROUP BY flush_id ORDER BY flush_id;

-- name: logs_by_flush
SELECT flush_id, array_agg('acc_' || encode(uuid_send(account_id), 'hex')) AS account_ids,
    array_agg(sequence) AS sequences, array_agg('exc_' || encode(uuid_send(exchange_id), 'hex')) AS exchange_ids,
    array_agg(leg) AS legs, array_agg(amount) AS amounts, array_agg(held_change) AS held_changes,
    array_agg(balance) AS balances, array_agg(held) AS helds
FROM ledger.account_log GROUP BY flush_id ORDER BY flush_id;

-- name: hot_logs_by_flush
SELECT flush_id, array_agg('acc_' || encode(uuid_send(account_id), 'hex')) AS account_ids,
    array_agg(ordinal) AS ordinals, array_agg('exc_' || encode(uuid_send(exchange_id), 'hex')) AS exchange_ids,
    array_agg(leg) AS legs, array_agg(amount) AS amounts
FROM ledger.hot_log GROUP BY flush_id ORDER BY flush_id;

-- name: lot_logs_by_flush
-- A lot's log belongs to the flush of the entry it was made with; without one it comes last, with a null.
SELECT l.flush_id, array_agg('acc_' || encode(uuid_send(g.account_id), 'hex')) AS account_ids,
    array_agg(g.sequence) AS sequences, array_agg(g.lot_sequence) AS lot_sequences, array_agg(g.amount) AS amounts,
    array_agg(g.held_change) AS held_changes
FROM ledger.lot_log AS g
LEFT JOIN ledger.account_log AS l ON l.account_id = g.account_id AND l.sequence = g.sequence
GROUP BY l.flush_id ORDER BY l.flush_id;

-- name: lots_by_flush
SELECT l.flush_id, array_agg('acc_' || encode(uuid_send(o.account_id), 'hex')) AS account_ids,
    array_agg(o.sequence) AS sequences, array_agg(o.amount) AS amounts, array_agg(o.expires_at) AS expiries,
    array_agg(o.rate) AS rates
FROM ledger.lot AS o
LEFT JOIN ledger.account_log AS l ON l.account_id = o.account_id AND l.sequence = o.sequence
GROUP BY l.flush_id ORDER BY l.flush_id;

-- name: references_by_flush
SELECT e.flush_id, array_agg(r.reference) AS references,
    array_agg('exc_' || encode(uuid_send(r.exchange_id), 'hex')) AS exchange_ids
FROM ledger.exchange_reference AS r LEFT JOIN ledger.exchange AS e ON e.exchange_id = r.exchange_id
GROUP BY e.flush_id ORDER BY e.flush_id;

-- name: outbox_by_instant
SELECT recorded_at, outbox_id, topic, event_count, payload FROM ledger.outbox WHERE topic <> 'processing.touched'
ORDER BY recorded_at;

-- Streams by account and by exchange.

-- name: accounts
SELECT a.account_id, a.owner, a.account_type, a.asset, a.overdraft, a.frozen, a.closed, a.metadata, a.incoming,
    e.records
FROM ledger.account AS a
LEFT JOIN (
    SELECT account_id, array_agg(record ORDER BY version) AS records FROM ledger.account_event GROUP BY account_id
) AS e ON e.account_id = a.account_id;

-- name: courses
-- Each exchange that was held, acted on or reversed, with everything that was done to it. (What was refused is nothing.)
WITH acted AS (
    SELECT exchange_id, array_agg(flush_id ORDER BY flush_id, ordinal) AS flush_ids,
        array_agg(ordinal ORDER BY flush_id, ordinal) AS ordinals,
        array_agg(record ORDER BY flush_id, ordinal) AS records
    FROM ledger.exchange_action WHERE substr(record, 65, 8) <> 'refused"'::bytea GROUP BY exchange_id
), reversed AS (
    SELECT r.original_id AS exchange_id, array_agg(r.flush_id ORDER BY r.flush_id, r.ordinal) AS flush_ids,
        array_agg(r.ordinal ORDER BY r.flush_id, r.ordinal) AS ordinals,
        array_agg(r.record ORDER BY r.flush_id, r.ordinal) AS records
    FROM (
        SELECT substring(convert_from(record, 'UTF8') FROM '"reverses":"exc_([0-9a-f]{32})"')::uuid AS original_id,
            flush_id, ordinal, record
        FROM ledger.exchange WHERE substr(record, 65, 9) = 'reversed"'::bytea
    ) AS r
    GROUP BY r.original_id
), needed AS (
    SELECT exchange_id FROM ledger.exchange_state
    UNION SELECT exchange_id FROM acted
    UNION SELECT exchange_id FROM reversed WHERE exchange_id IS NOT NULL
    UNION SELECT exchange_id FROM ledger.exchange WHERE substr(record, 65, 11) = 'authorized"'::bytea
)
SELECT n.exchange_id, s.state, s.version, s.expires_at, s.is_held, s.progress, e.record AS birth,
    e.flush_id AS birth_id, a.flush_ids AS action_ids, a.ordinals AS action_ordinals, a.records AS actions,
    r.flush_ids AS reversal_ids, r.ordinals AS reversal_ordinals, r.records AS reversals
FROM needed AS n
LEFT JOIN ledger.exchange_state AS s ON s.exchange_id = n.exchange_id
LEFT JOIN ledger.exchange AS e ON e.exchange_id = n.exchange_id
LEFT JOIN acted AS a ON a.exchange_id = n.exchange_id
LEFT JOIN reversed AS r ON r.exchange_id = n.exchange_id;

-- name: rated_courses
-- Each exchange with an entry on an account whose lots carry rates, with everything that was done to it.
WITH rated AS (
    SELECT DISTINCT l.exchange_id FROM ledger.account AS a JOIN ledger.account_log AS l ON l.account_id = a.account_id
    WHERE a.account_type = ANY($1::text[])
), acted AS (
    SELECT x.exchange_id, array_agg(x.flush_id ORDER BY x.flush_id, x.ordinal) AS flush_ids,
        array_agg(x.ordinal ORDER BY x.flush_id, x.ordinal) AS ordinals,
        array_agg(x.record ORDER BY x.flush_id, x.ordinal) AS records
    FROM ledger.exchange_action AS x JOIN rated AS r ON r.exchange_id = x.exchange_id
    WHERE substr(x.record, 65, 8) <> 'refused"'::bytea GROUP BY x.exchange_id
), reversed AS (
    SELECT v.original_id AS exchange_id, array_agg(v.flush_id ORDER BY v.flush_id, v.ordinal) AS flush_ids,
        array_agg(v.ordinal ORDER BY v.flush_id, v.ordinal) AS ordinals,
        array_agg(v.record ORDER BY v.flush_id, v.ordinal) AS records
    FROM (
        SELECT substring(convert_from(e.record, 'UTF8') FROM '"reverses":"exc_([0-9a-f]{32})"')::uuid AS original_id,
            e.flush_id, e.ordinal, e.record
        FROM ledger.exchange AS e JOIN rated AS r ON r.exchange_id = e.exchange_id
        WHERE substr(e.record, 65, 9) = 'reversed"'::bytea
    ) AS v
    GROUP BY v.original_id
)
SELECT e.exchange_id, e.record AS birth, a.flush_ids AS action_ids, a.ordinals AS action_ordinals,
    a.records AS actions, v.flush_ids AS reversal_ids, v.ordinals AS reversal_ordinals, v.records AS reversals
FROM rated AS r
JOIN ledger.exchange AS e ON e.exchange_id = r.exchange_id
LEFT JOIN acted AS a ON a.exchange_id = r.exchange_id
LEFT JOIN reversed AS v ON v.exchange_id = r.exchange_id;

-- name: lot_rates
SELECT 'acc_' || encode(uuid_send(a.account_id), 'hex') AS account_id, a.account_type, o.sequence, o.rate
FROM unnest($1::uuid[], $2::bigint[]) AS u (account_id, sequence)
JOIN ledger.account AS a ON a.account_id = u.account_id
LEFT JOIN ledger.lot AS o ON o.account_id = u.account_id AND o.sequence = u.sequence;

-- name: lotted_accounts
SELECT 'acc_' || encode(uuid_send(account_id), 'hex') AS account_id FROM ledger.account
WHERE account_id = ANY($1::uuid[]) AND account_type = ANY($2::text[]);

-- name: anchors
SELECT anchor_id, recorded_at, heads, seal FROM ledger.seal_anchor ORDER BY anchor_id;

-- name: anchored_flushes
SELECT f.slot, f.epoch, f.sequence, f.seal FROM ledger.flush AS f
JOIN unnest($1::int[], $2::bigint[], $3::bigint[]) AS u (slot, epoch, sequence)
    ON f.slot = u.slot AND f.epoch = u.epoch AND f.sequence = u.sequence;

-- name: writers
SELECT slot, epoch, fenced, stable_id, sequence, seal FROM ledger.writer ORDER BY slot;

-- Checks: each gives the broken rows alone, as a table's name, a key and a sentence.

-- name: broken_log_chain
SELECT 'account_log' AS relation, 'acc_' || encode(uuid_send(c.account_id), 'hex') || '/' || c.sequence AS key,
    CASE
        WHEN c.balance_before <> c.last_balance
            THEN format('its balance less its amount is %s, the entry before ended at %s', c.balance_before, c.last_balance)
        WHEN c.held_before <> c.last_held
            THEN format('its held less its change is %s, the entry before ended at %s', c.held_before, c.last_held)
        ELSE 'it was recorded before the entry that it follows'
    END AS sentence
FROM (
    SELECT account_id, sequence, flush_id, balance - amount AS balance_before, held - held_change AS held_before,
        lag(balance, 1, 0::bigint) OVER w AS last_balance, lag(held, 1, 0::bigint) OVER w AS last_held,
        lag(flush_id, 1, 0::bigint) OVER w AS last_flush_id
    FROM ledger.account_log WINDOW w AS (PARTITION BY account_id ORDER BY sequence)
) AS c
WHERE c.balance_before <> c.last_balance OR c.held_before <> c.last_held OR c.flush_id < c.last_flush_id
LIMIT $1;

-- name: overdrawn_logs
-- What an account may be overdrawn by at an entry was told by its last event before it.
SELECT 'account_log' AS relation, 'acc_' || encode(uuid_send(l.account_id), 'hex') || '/' || l.sequence AS key,
    format('balance %s with %s held is below what the account may be overdrawn by', l.balance, l.held) AS sentence
FROM ledger.account_log AS l LEFT JOIN ledger.account AS a ON a.account_id = l.account_id
WHERE (l.balance < l.held OR l.held < 0)
    AND (l.held < 0 OR a.account_id IS NULL OR NOT a.account_type = ANY($2::text[])
        OR l.held - l.balance > coalesce((
            SELECT (convert_from(e.record, 'UTF8')::jsonb ->> 'overdraft')::bigint FROM ledger.account_event AS e
            WHERE e.account_id = l.account_id AND e.version <= l.sequence AND e.event IN ('opened', 'updated')
            ORDER BY e.version DESC LIMIT 1
        ), 0))
LIMIT $1;

-- name: broken_accounts
WITH logged AS (
    SELECT account_id, count(*) AS entries, min(sequence) AS first, max(sequence) AS last, sum(amount) AS balance,
        sum(held_change) AS held
    FROM ledger.account_log GROUP BY account_id
), told AS (
    SELECT account_id, count(*) AS events, min(version) AS first, max(version) AS last,
        min(flush_id) FILTER (WHERE version = 0) AS opened_id
    FROM ledger.account_event GROUP BY account_id
), summed AS (
    SELECT coalesce(a.account_id, l.account_id, t.account_id) AS account_id, a.balance AS row_balance,
        a.held AS row_held, a.version, a.opened_id AS row_opened_id, a.account_id IS NULL AS absent,
        a.account_type = ANY($2::text[]) AS log_only, coalesce(l.entries, 0) AS entries, coalesce(l.first, 1) AS first,
        coalesce(l.last, 0) AS last, coalesce(l.balance, 0) AS balance, coalesce(l.held, 0) AS held,
        coalesce(t.events, 0) AS events, t.first AS event_first, coalesce(t.last, 0) AS event_last, t.opened_id
    FROM ledger.account AS a
    FULL JOIN logged AS l ON l.account_id = a.account_id
    FULL JOIN told AS t ON t.account_id = coalesce(a.account_id, l.account_id)
), judged AS (
    SELECT account_id, 'account' AS relation,
        CASE
            WHEN absent THEN 'there is no such account, but entries or events of it'
            WHEN event_first IS DISTINCT FROM 0 THEN 'nothing tells of its opening'
            WHEN row_opened_id <> opened_id THEN format('it was opened by flush %s, not %s', opened_id, row_opened_id)
            WHEN log_only AND entries > 0 THEN 'a log-only account has entries with a running balance'
            WHEN row_balance <> balance THEN format('its balance is %s, its entries add up to %s', row_balance, balance)
            WHEN row_held <> held THEN format('its held is %s, its entries add up to %s', row_held, held)
            WHEN version <> greatest(last, event_last)
                THEN format('its version is %s, the last entry or event %s', version, greatest(last, event_last))
        END AS sentence
    FROM summed
    UNION ALL
    SELECT account_id, 'account_event', 'the event of the opening is missing' FROM summed
    WHERE event_first IS DISTINCT FROM 0
    UNION ALL
    SELECT account_id, 'account_event',
        format('its %s entries and %s events are not numbered 1 to %s', entries, events, version)
    FROM summed
    WHERE NOT absent AND event_first = 0 AND (entries + events - 1 <> version OR first < 1)
)
SELECT relation, 'acc_' || encode(uuid_send(account_id), 'hex') AS key, sentence
FROM judged WHERE sentence IS NOT NULL
LIMIT $1;

-- name: repeated_versions
SELECT 'account_event' AS relation, 'acc_' || encode(uuid_send(e.account_id), 'hex') || '/' || e.version AS key,
    'an entry of the account has the same number' AS sentence
FROM ledger.account_event AS e
JOIN ledger.account_log AS l ON l.account_id = e.account_id AND l.sequence = e.version
LIMIT $1;

-- name: broken_account_flushes
-- A flush that looked at a hold without moving it may have touched the account without an entry.
WITH touched AS (
    SELECT t.account_id, max(t.flush_id) AS flush_id FROM (
        SELECT account_id, max(flush_id) AS flush_id FROM ledger.account_log GROUP BY account_id
        UNION ALL
        SELECT account_id, max(flush_id) AS flush_id FROM ledger.account_event GROUP BY account_id
    ) AS t GROUP BY t.account_id
)
SELECT 'account' AS relation, 'acc_' || encode(uuid_send(a.account_id), 'hex') AS key,
    format('its flush is %s, the last that touched it %s', a.flush_id, t.flush_id) AS sentence
FROM ledger.account AS a JOIN touched AS t ON t.account_id = a.account_id
WHERE a.flush_id < t.flush_id OR a.flush_id > t.flush_id AND NOT EXISTS (
    SELECT x.action_id FROM ledger.exchange_action AS x JOIN ledger.exchange AS e ON e.exchange_id = x.exchange_id
    WHERE x.flush_id = a.flush_id AND position(convert_to(encode(uuid_send(a.account_id), 'hex'), 'UTF8') IN e.record) > 0
)
LIMIT $1;

-- name: broken_lots
WITH used AS (
    SELECT account_id, lot_sequence, sum(amount) AS amount, sum(held_change) AS held
    FROM ledger.lot_log GROUP BY account_id, lot_sequence
)
SELECT 'lot' AS relation,
    'acc_' || encode(uuid_send(coalesce(o.account_id, u.account_id)), 'hex') || '/' || coalesce(o.sequence, u.lot_sequence)
        AS key,
    CASE
        WHEN o.account_id IS NULL THEN 'there is no such lot, but logs of it'
        WHEN o.remaining <> o.amount + coalesce(u.amount, 0)
            THEN format('its remaining is %s, its logs leave %s', o.remaining, o.amount + coalesce(u.amount, 0))
        WHEN o.held <> coalesce(u.held, 0) THEN format('its held is %s, its logs say %s', o.held, coalesce(u.held, 0))
        ELSE 'it is open if and only if something remains of it'
    END AS sentence
FROM ledger.lot AS o FULL JOIN used AS u ON u.account_id = o.account_id AND u.lot_sequence = o.sequence
WHERE o.account_id IS NULL OR o.remaining <> o.amount + coalesce(u.amount, 0) OR o.held <> coalesce(u.held, 0)
    OR o.is_open <> (o.remaining > 0)
LIMIT $1;

-- name: broken_lot_sums
WITH summed AS (
    SELECT account_id, sum(remaining) AS remaining, sum(held) AS held FROM ledger.lot GROUP BY account_id
)
SELECT CASE WHEN a.account_type = ANY($2::text[]) THEN 'account' ELSE 'lot' END AS relation,
    'acc_' || encode(uuid_send(coalesce(a.account_id, s.account_id)), 'hex') AS key,
    CASE
        WHEN a.account_id IS NULL OR NOT a.account_type = ANY($2::text[]) THEN 'the account has lots, but may have none'
        ELSE format('balance %s and held %s, its lots add up to %s and %s', a.balance, a.held,
            coalesce(s.remaining, 0), coalesce(s.held, 0))
    END AS sentence
FROM ledger.account AS a FULL JOIN summed AS s ON s.account_id = a.account_id
WHERE CASE
    WHEN a.account_type = ANY($2::text[])
        THEN a.balance <> coalesce(s.remaining, 0) OR a.held <> coalesce(s.held, 0)
    ELSE s.account_id IS NOT NULL
END
LIMIT $1;

-- name: stray_hot_logs
SELECT 'hot_log' AS relation, 'acc_' || encode(uuid_send(h.account_id), 'hex') AS key,
    'the account does not exist, or is not log-only' AS sentence
FROM (SELECT account_id FROM ledger.hot_log GROUP BY account_id) AS h
LEFT JOIN ledger.account AS a ON a.account_id = h.account_id
WHERE a.account_id IS NULL OR NOT a.account_type = ANY($2::text[])
LIMIT $1;

-- name: broken_subtotals
-- A subtotal reaches no further than writers have promised to record nothing earlier.
WITH summed AS (
    SELECT s.account_id, coalesce(sum(h.amount), 0) AS balance
    FROM ledger.hot_subtotal AS s
    LEFT JOIN ledger.hot_log AS h ON h.account_id = s.account_id AND h.flush_id <= s.through_id
    GROUP BY s.account_id
)
SELECT 'hot_subtotal' AS relation, 'acc_' || encode(uuid_send(s.account_id), 'hex') AS key,
    CASE
        WHEN a.account_id IS NULL OR NOT a.account_type = ANY($2::text[])
            THEN 'the account does not exist, or is not log-only'
        WHEN s.balance <> u.balance
            THEN format('its balance is %s, the logs up to flush %s add up to %s', s.balance, s.through_id, u.balance)
        ELSE format('it reaches to flush %s, further than any writer has promised', s.through_id)
    END AS sentence
FROM ledger.hot_subtotal AS s JOIN summed AS u ON u.account_id = s.account_id
LEFT JOIN ledger.account AS a ON a.account_id = s.account_id
WHERE a.account_id IS NULL OR NOT a.account_type = ANY($2::text[]) OR s.balance <> u.balance
    OR s.through_id > (SELECT coalesce(max(w.stable_id), -1) FROM ledger.writer AS w)
LIMIT $1;

-- name: unbalanced_assets
SELECT 'account' AS relation, t.asset AS key, format('all accounts of the asset add up to %s', sum(t.balance)) AS sentence
FROM (
    SELECT asset, sum(balance) AS balance FROM ledger.account GROUP BY asset
    UNION ALL
    SELECT a.asset, sum(h.balance) AS balance
    FROM (SELECT account_id, sum(amount) AS balance FROM ledger.hot_log GROUP BY account_id) AS h
    JOIN ledger.account AS a ON a.account_id = h.account_id GROUP BY a.asset
) AS t
GROUP BY t.asset HAVING sum(t.balance) <> 0
LIMIT $1;
