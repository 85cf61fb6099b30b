-- name: write_flush
-- One page in one statement. The CHECK on flush compares verified with expected: a stale page cannot be written.
WITH fence AS (
    UPDATE ledger.writer SET stable_id = $1, sequence = $4, seal = $7
    WHERE slot = $2 AND epoch = $3 AND sequence = $4 - 1
    RETURNING 1
), changed AS (
    UPDATE ledger.account AS a SET balance = u.balance, held = u.held, version = u.version, overdraft = u.overdraft,
        frozen = u.frozen, closed = u.closed, flush_id = $1
    FROM unnest($9::ledger.account_change[]) AS u
    WHERE a.account_id = u.account_id AND a.version = u.was
    RETURNING 1
), consulted AS (
    SELECT 1 FROM ledger.account AS a
    JOIN unnest($10::uuid[], $11::bigint[]) AS u (account_id, version)
        ON a.account_id = u.account_id AND a.version = u.version
), logged AS (
    INSERT INTO ledger.account_log (account_id, sequence, exchange_id, leg, amount, held_change, balance, held, flush_id)
    SELECT u.account_id, u.sequence, u.exchange_id, u.leg, u.amount, u.held_change, u.balance, u.held, $1
    FROM unnest($12::ledger.log_entry[]) AS u
), consumed AS (
    UPDATE ledger.lot AS l SET remaining = u.remaining, held = u.held, is_open = u.remaining > 0
    FROM unnest($13::ledger.lot_change[]) AS u
    WHERE l.account_id = u.account_id AND l.sequence = u.sequence
    RETURNING 1
), credited AS (
    INSERT INTO ledger.lot (account_id, sequence, amount, remaining, held, is_open, expires_at, rate)
    SELECT u.account_id, u.sequence, u.amount, u.remaining, u.held, u.remaining > 0, u.expires_at, u.rate
    FROM unnest($14::ledger.lot_birth[]) AS u
), traced AS (
    INSERT INTO ledger.lot_log (account_id, sequence, lot_sequence, amount, held_change)
    SELECT u.account_id, u.sequence, u.lot_sequence, u.amount, u.held_change
    FROM unnest($15::ledger.lot_entry[]) AS u
), exchanged AS (
    INSERT INTO ledger.exchange (exchange_id, flush_id, ordinal, record, digest, caller, processing_id)
    SELECT u.exchange_id, $1, u.ordinal, u.record, u.digest, u.caller, u.processing_id
    FROM unnest($16::ledger.exchange_birth[]) AS u
), hot AS (
    INSERT INTO ledger.hot_log (account_id, flush_id, ordinal, exchange_id, leg, amount)
    SELECT u.account_id, $1, u.ordinal, u.exchange_id, u.leg, u.amount
    FROM unnest($17::uuid[], $18::int[], $19::uuid[], $20::int[], $21::bigint[])
        AS u (account_id, ordinal, exchange_id, leg, amount)
), published AS (
    INSERT INTO ledger.outbox (outbox_id, topic, event_count, payload, recorded_at)
    SELECT u.outbox_id, u.topic, u.event_count, u.payload, u.recorded_at
    FROM unnest($22::uuid[], $23::text[], $24::int[], $25::bytea[], $26::timestamptz[])
        AS u (outbox_id, topic, event_count, payload, recorded_at)
), begun AS (
    INSERT INTO ledger.exchange_state (exchange_id, state, version, expires_at, is_held, progress)
    SELECT u.exchange_id, u.state, u.version, u.expires_at, u.state = 'AUTHORIZED', u.progress
    FROM unnest($27::uuid[], $28::text[], $29::bigint[], $30::timestamptz[], $31::bytea[])
        AS u (exchange_id, state, version, expires_at, progress)
), acted AS (
    INSERT INTO ledger.exchange_action (exchange_id, action_id, flush_id, ordinal, record, caller, processing_id)
    SELECT u.exchange_id, u.action_id, $1, u.ordinal, u.record, u.caller, u.processing_id
    FROM unnest($32::uuid[], $33::uuid[], $34::int[], $35::bytea[], $36::text[], $37::text[])
        AS u (exchange_id, action_id, ordinal, record, caller, processing_id)
), carried AS (
    UPDATE ledger.exchange_state AS s SET state = u.state, version = u.version, is_held = u.state = 'AUTHORIZED',
        progress = u.progress
    FROM unnest($38::uuid[], $39::text[], $40::bigint[], $41::bigint[], $42::bytea[])
        AS u (exchange_id, state, was, version, progress)
    WHERE s.exchange_id = u.exchange_id AND s.version = u.was
    RETURNING 1
), named AS (
    INSERT INTO ledger.exchange_reference (reference, exchange_id)
    SELECT u.reference, u.exchange_id FROM unnest($43::text[], $44::uuid[]) AS u (reference, exchange_id)
), keyed AS (
    INSERT INTO ledger.request_key (request_key, digest, flush_id)
    SELECT u.request_key, u.digest, $1 FROM unnest($45::uuid[], $46::bytea[]) AS u (request_key, digest)
)
INSERT INTO ledger.flush (flush_id, slot, epoch, sequence, effects, digest, seal, expected, verified)
SELECT $1, $2, $3, $4, $5, $6, $7, $8,
    (SELECT count(*) FROM fence) + (SELECT count(*) FROM changed) + (SELECT count(*) FROM consulted)
    + (SELECT count(*) FROM consumed) + (SELECT count(*) FROM carried);

-- name: write_births
WITH born AS (
    INSERT INTO ledger.account (account_id, owner, account_type, asset, balance, held, version, overdraft, frozen, closed,
        metadata, incoming, opened_id, flush_id)
    SELECT u.account_id, u.owner, u.account_type, u.asset, u.balance, u.held, u.version, u.overdraft, u.frozen,
        u.closed, u.metadata, u.incoming, $1, $1
    FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
        $9::bigint[], $10::text[], $11::boolean[], $12::text[], $13::bigint[])
        AS u (account_id, owner, account_type, asset, balance, held, version, overdraft, frozen, closed, metadata,
            incoming)
), told AS (
    INSERT INTO ledger.account_event (account_id, version, event, flush_id, ordinal, record)
    SELECT u.account_id, u.version, u.event, $1, u.ordinal, u.record
    FROM unnest($14::uuid[], $15::bigint[], $16::text[], $17::int[], $18::bytea[])
        AS u (account_id, version, event, ordinal, record)
)
UPDATE ledger.account AS a SET metadata = u.metadata, incoming = u.incoming
FROM unnest($19::uuid[], $20::text[], $21::bigint[]) AS u (account_id, metadata, incoming)
WHERE a.account_id = u.account_id;

-- name: verify_versions
SELECT count(*) FROM ledger.account AS a
JOIN unnest($1::uuid[], $2::bigint[]) AS u (account_id, version)
    ON a.account_id = u.account_id AND a.version = u.version;

-- name: load_accounts
SELECT account_id, owner, account_type, balance, held, incoming, version, overdraft, frozen, closed, metadata,
    opened_id, flush_id
FROM ledger.account WHERE account_id = ANY($1::uuid[]);

-- name: lock_accounts
SELECT account_id, owner, account_type, balance, held, incoming, version, overdraft, frozen, closed, metadata,
    opened_id, flush_id
FROM ledger.account WHERE account_id = ANY($1::uuid[]) ORDER BY account_id FOR UPDATE;

-- name: load_lots
SELECT l.account_id, l.sequence, l.amount, l.remaining, l.held, l.expires_at, l.rate
FROM unnest($1::uuid[], $2::int[]) AS u (account_id, most)
CROSS JOIN LATERAL (
    SELECT o.account_id, o.sequence, o.amount, o.remaining, o.held, o.expires_at, o.rate FROM ledger.lot AS o
    WHERE o.account_id = u.account_id AND o.is_open
    ORDER BY o.expires_at NULLS LAST, o.sequence LIMIT u.most
) AS l;

-- name: load_named_lots
SELECT l.account_id, l.sequence, l.amount, l.remaining, l.held, l.expires_at, l.rate
FROM ledger.lot AS l JOIN unnest($1::uuid[], $2::bigint[]) AS u (account_id, sequence)
    ON l.account_id = u.account_id AND l.sequence = u.sequence;

-- name: load_exchanges
SELECT e.exchange_id, e.flush_id, e.record, e.digest, s.version, s.progress
FROM ledger.exchange AS e LEFT JOIN ledger.exchange_state AS s ON s.exchange_id = e.exchange_id
WHERE e.exchange_id = ANY($1::uuid[]);

-- name: load_actions
SELECT x.exchange_id, x.action_id, x.flush_id, x.record
FROM ledger.exchange_action AS x JOIN unnest($1::uuid[], $2::uuid[]) AS u (exchange_id, action_id)
    ON x.exchange_id = u.exchange_id AND x.action_id = u.action_id;

-- name: load_references
SELECT reference, exchange_id FROM ledger.exchange_reference WHERE reference = ANY($1::text[]);

-- name: load_request_keys
SELECT request_key, digest FROM ledger.request_key WHERE request_key = ANY($1::uuid[]);

-- name: find_flush
SELECT flush_id FROM ledger.flush WHERE flush_id = $1;

-- name: database_time
-- A lease runs on the database's real time, read first and passed back in.
SELECT clock_timestamp() AS at;

-- name: claim_writer
-- A slot whose lease has run out by the database's clock, or a new one; the row lock waits for a flush in flight.
UPDATE ledger.writer SET epoch = epoch + 1, holder = $2, lease_until = $3, fenced = false,
    sequence = 0, seal = $4
WHERE slot = $1 AND (lease_until < $5 OR fenced OR holder = $2)
RETURNING slot, epoch, stable_id;

-- name: list_writers
SELECT slot, epoch, stable_id, fenced, lease_until FROM ledger.writer ORDER BY slot;

-- name: insert_writer
INSERT INTO ledger.writer (slot, epoch, holder, lease_until, fenced, stable_id, sequence, seal)
VALUES ($1, 1, $2, $3, false, 0, 0, $4)
ON CONFLICT (slot) DO NOTHING
RETURNING slot, epoch, stable_id;

-- name: renew_writer
UPDATE ledger.writer SET lease_until = $3, stable_id = greatest(stable_id, $4)
WHERE slot = $1 AND epoch = $2
RETURNING slot;

-- name: fence_writer
UPDATE ledger.writer SET fenced = true, epoch = epoch + 1
WHERE slot = $1 AND epoch = $2 AND lease_until < $3
RETURNING slot;

-- name: release_writer
UPDATE ledger.writer SET fenced = true, epoch = epoch + 1 WHERE slot = $1 AND epoch = $2 RETURNING slot;

-- name: accounts_of_owner
SELECT account_id FROM ledger.account WHERE owner = $1 ORDER BY account_type;

-- name: accounts_over_cap
SELECT a.account_id FROM ledger.account AS a
JOIN unnest($1::text[], $2::bigint[]) AS u (account_type, cap)
    ON a.account_type = u.account_type AND a.balance > u.cap
ORDER BY a.account_id LIMIT $3;

-- name: hot_balances
-- Sums are numeric: they are exact, and it is for the reader to say when one is more than can be told.
SELECT a.account_id, coalesce(s.balance, 0) + coalesce(
    (SELECT sum(h.amount) FROM ledger.hot_log AS h WHERE h.account_id = a.account_id
        AND h.flush_id > coalesce(s.through_id, -1) AND h.flush_id <= $2), 0) AS balance
FROM unnest($1::uuid[]) AS a (account_id) LEFT JOIN ledger.hot_subtotal AS s ON s.account_id = a.account_id;

-- name: hot_balance_as_of
-- From the subtotal, unless that reaches further than the instant.
SELECT coalesce(max(s.balance), 0) + coalesce(sum(h.amount), 0) AS balance
FROM (SELECT $1::uuid AS account_id) AS a
LEFT JOIN ledger.hot_subtotal AS s ON s.account_id = a.account_id AND s.through_id <= $2
LEFT JOIN ledger.hot_log AS h ON h.account_id = a.account_id AND h.flush_id > coalesce(s.through_id, -1)
    AND h.flush_id <= $2;

-- name: expired_in_lots
SELECT account_id, sum(remaining - held)::bigint AS expired FROM ledger.lot
WHERE account_id = ANY($1::uuid[]) AND is_open AND expires_at <= $2 GROUP BY account_id;

-- name: insert_subtotals
INSERT INTO ledger.hot_subtotal (account_id, through_id, balance)
SELECT a.account_id, -1, 0 FROM ledger.account AS a WHERE a.account_type = ANY($1::text[])
ON CONFLICT (account_id) DO NOTHING;

-- name: roll_up
UPDATE ledger.hot_subtotal AS s SET balance = s.balance + u.amount, through_id = $1
FROM (
    SELECT t.account_id, t.through_id, sum(h.amount) AS amount FROM ledger.hot_subtotal AS t
    JOIN ledger.hot_log AS h ON h.account_id = t.account_id AND h.flush_id > t.through_id AND h.flush_id <= $1
    GROUP BY t.account_id, t.through_id
) AS u
WHERE s.account_id = u.account_id AND s.through_id = u.through_id
RETURNING s.account_id;

-- name: account_logs
SELECT account_id, sequence, exchange_id, amount, held_change, balance, held, flush_id FROM ledger.account_log
WHERE account_id = $1 AND sequence < $2 ORDER BY sequence DESC LIMIT $3;

-- name: hot_logs
SELECT account_id, flush_id, ordinal, exchange_id, amount FROM ledger.hot_log
WHERE account_id = $1 AND (flush_id, ordinal) < ($2, $3) ORDER BY flush_id DESC, ordinal DESC LIMIT $4;

-- name: lots_open
SELECT account_id, sequence, amount, remaining, held, expires_at, rate FROM ledger.lot
WHERE account_id = $1 AND is_open AND (coalesce(expires_at, '9999-12-31T00:00:00Z'), sequence) > ($2, $3)
ORDER BY expires_at NULLS LAST, sequence LIMIT $4;

-- name: lots_all
SELECT account_id, sequence, amount, remaining, held, expires_at, rate FROM ledger.lot
WHERE account_id = $1 AND (coalesce(expires_at, '9999-12-31T00:00:00Z'), sequence) > ($2, $3)
ORDER BY expires_at NULLS LAST, sequence LIMIT $4;

-- name: log_as_of
SELECT sequence, balance, held FROM ledger.account_log
WHERE account_id = $1 AND flush_id <= $2 ORDER BY sequence DESC LIMIT 1;

-- name: lots_as_of
SELECT l.account_id, l.sequence, l.amount, l.amount + coalesce(sum(g.amount), 0)::bigint AS remaining,
    coalesce(sum(g.held_change), 0)::bigint AS held, l.expires_at, l.rate
FROM ledger.lot AS l LEFT JOIN ledger.lot_log AS g
    ON g.account_id = l.account_id AND g.lot_sequence = l.sequence AND g.sequence <= $2
WHERE l.account_id = $1 AND l.sequence <= $2
GROUP BY l.account_id, l.sequence, l.amount, l.expires_at, l.rate
HAVING l.amount + coalesce(sum(g.amount), 0) > 0
ORDER BY l.expires_at NULLS LAST, l.sequence;

-- name: type_totals
SELECT account_type, asset, count(*) AS accounts, sum(balance) AS balance, sum(held) AS held
FROM ledger.account GROUP BY account_type, asset ORDER BY account_type;

-- name: hot_type_totals
SELECT a.account_type, sum(coalesce(s.balance, 0) + coalesce(
    (SELECT sum(h.amount) FROM ledger.hot_log AS h WHERE h.account_id = a.account_id
        AND h.flush_id > coalesce(s.through_id, -1)), 0)) AS balance
FROM ledger.account AS a LEFT JOIN ledger.hot_subtotal AS s ON s.account_id = a.account_id
WHERE a.account_type = ANY($1::text[]) GROUP BY a.account_type;

-- name: later_totals
SELECT a.account_type, sum(l.amount) AS amount, sum(l.held_change) AS held_change
FROM (
    SELECT account_id, amount, held_change FROM ledger.account_log WHERE flush_id > $1
    UNION ALL SELECT account_id, amount, 0 FROM ledger.hot_log WHERE flush_id > $1
) AS l
JOIN ledger.account AS a ON a.account_id = l.account_id
GROUP BY a.account_type;

-- name: export_logs
SELECT account_id, sequence, exchange_id, amount, held_change, balance, held, flush_id FROM ledger.account_log
WHERE flush_id >= $1 AND flush_id <= $2 AND (account_id, sequence) > ($3, $4)
ORDER BY account_id, sequence LIMIT $5;

-- name: export_hot_logs
SELECT account_id, flush_id, ordinal, exchange_id, amount FROM ledger.hot_log
WHERE flush_id >= $1 AND flush_id <= $2 AND (account_id, flush_id, ordinal) > ($3, $4, $5)
ORDER BY account_id, flush_id, ordinal LIMIT $6;

-- name: export_accounts
SELECT account_id, owner, account_type, opened_id FROM ledger.account
WHERE account_id > $1 ORDER BY account_id LIMIT $2;

-- name: lapsed_exchanges
SELECT exchange_id FROM ledger.exchange_state WHERE is_held AND expires_at <= $1 ORDER BY expires_at LIMIT $2;

-- name: accounts_with_expired_lots
SELECT account_id FROM ledger.lot WHERE is_open AND expires_at <= $1 AND remaining > held
GROUP BY account_id ORDER BY account_id LIMIT $2;

-- name: last_anchor
SELECT anchor_id, seal FROM ledger.seal_anchor ORDER BY anchor_id DESC LIMIT 1;

-- name: seal_heads
SELECT DISTINCT ON (slot, epoch) slot, epoch, sequence, seal FROM ledger.flush
WHERE flush_id <= $1 ORDER BY slot, epoch, sequence DESC;

-- name: insert_anchor
INSERT INTO ledger.seal_anchor (anchor_id, recorded_at, heads, seal) VALUES ($1, $2, $3, $4)
ON CONFLICT (anchor_id) DO NOTHING RETURNING anchor_id;

-- name: account_types
SELECT account_type, asset, owner_kind, log_only, has_lots, expires FROM ledger.account_type ORDER BY account_type;

-- name: insert_account_types
INSERT INTO ledger.account_type (account_type, asset, owner_kind, log_only, has_lots, expires)
SELECT u.account_type, u.asset, u.owner_kind, u.log_only, u.has_lots, u.expires
FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::boolean[], $6::boolean[])
    AS u (account_type, asset, owner_kind, log_only, has_lots, expires)
ON CONFLICT (account_type) DO NOTHING RETURNING account_type;

-- name: forget_incoming
-- Before types were known here, what is to come may have been reckoned for log-only accounts too.
UPDATE ledger.account SET incoming = 0 WHERE account_type = ANY($1::text[]) AND incoming <> 0;

-- name: change_account_types
UPDATE ledger.account_type AS t SET asset = u.asset, owner_kind = u.owner_kind, log_only = u.log_only,
    has_lots = u.has_lots, expires = u.expires
FROM unnest($1::text[], $2::text[], $3::text[], $4::boolean[], $5::boolean[], $6::boolean[])
    AS u (account_type, asset, owner_kind, log_only, has_lots, expires)
WHERE t.account_type = u.account_type;

-- name: types_in_use
SELECT u.account_type FROM unnest($1::text[]) AS u (account_type)
WHERE EXISTS (SELECT 1 FROM ledger.account AS a WHERE a.account_type = u.account_type);
