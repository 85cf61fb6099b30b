-- name: broken_journal_sums
SELECT 'journal' AS relation, 'jnl_' || encode(uuid_send(e.journal_id), 'hex') AS key,
    format('its debits and credits differ by %s %s', sum(e.amount), e.asset) AS sentence
FROM books.entry AS e GROUP BY e.journal_id, e.asset HAVING sum(e.amount) <> 0 LIMIT $1;

-- name: broken_journals
SELECT 'journal' AS relation, 'jnl_' || encode(uuid_send(coalesce(j.journal_id, e.journal_id)), 'hex') AS key,
    CASE WHEN j.journal_id IS NULL THEN format('there is none, but %s entries of it', e.entries)
        WHEN e.journal_id IS NULL THEN 'it has no entries'
        WHEN e.entries <> e.last THEN format('it has %s entries, the last of which is number %s', e.entries, e.last)
        ELSE format('it is booked on %s, its entries on %s to %s', j.booked_on, e.first_on, e.last_on) END AS sentence
FROM books.journal AS j
FULL JOIN (
    SELECT journal_id, count(*) AS entries, max(line) AS last, min(booked_on) AS first_on, max(booked_on) AS last_on
    FROM books.entry GROUP BY journal_id
) AS e ON e.journal_id = j.journal_id
WHERE j.journal_id IS NULL OR e.journal_id IS NULL OR e.entries <> e.last OR e.first_on <> j.booked_on
    OR e.last_on <> j.booked_on
LIMIT $1;

-- name: broken_totals
SELECT 'day_total' AS relation,
    concat_ws('/', coalesce(t.account, s.account), coalesce(t.booked_on, s.booked_on), coalesce(t.event_on, s.event_on),
        coalesce(t.asset, s.asset), coalesce(t.account_type, s.account_type), coalesce(t.kind, s.kind),
        coalesce(t.tax_code, s.tax_code)) AS key,
    format('it tells %s debited, %s credited in %s entries; there are %s, %s in %s', coalesce(t.debit, 0),
        coalesce(t.credit, 0), coalesce(t.entries, 0), coalesce(s.debit, 0), coalesce(s.credit, 0),
        coalesce(s.entries, 0)) AS sentence
FROM books.day_total AS t
FULL JOIN (
    SELECT e.account, e.booked_on, j.event_on, e.asset, e.account_type, j.kind, e.tax_code,
        coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit,
        coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit, count(*) AS entries
    FROM books.entry AS e JOIN books.journal AS j ON j.journal_id = e.journal_id
    GROUP BY e.account, e.booked_on, j.event_on, e.asset, e.account_type, j.kind, e.tax_code
) AS s ON s.account = t.account AND s.booked_on = t.booked_on AND s.event_on = t.event_on AND s.asset = t.asset
    AND s.account_type = t.account_type AND s.kind = t.kind AND s.tax_code = t.tax_code
WHERE t.debit IS DISTINCT FROM s.debit OR t.credit IS DISTINCT FROM s.credit OR t.entries IS DISTINCT FROM s.entries
LIMIT $1;

-- name: broken_trial_balance
SELECT 'day_total' AS relation, asset AS key,
    format('all accounts together are %s in debit, not zero', sum(debit - credit)) AS sentence
FROM books.day_total GROUP BY asset HAVING sum(debit - credit) <> 0 LIMIT $1;

-- name: booked_when_closed
-- When it was booked, neither its month nor a later one was closed: what is before a closed month is closed with it.
SELECT 'journal' AS relation, 'jnl_' || encode(uuid_send(j.journal_id), 'hex') AS key,
    format('it was booked on %s at %s, after %s was %s', j.booked_on, j.recorded_at, to_char(s.month, 'YYYY-MM'),
        s.state) AS sentence
FROM books.journal AS j
CROSS JOIN LATERAL (
    SELECT p.month, p.state FROM books.period_step AS p
    WHERE p.month >= date_trunc('month', j.booked_on)::date AND p.state <> 'OPEN' AND p.changed_at < j.recorded_at
        AND NOT EXISTS (SELECT 1 FROM books.period_step AS n
            WHERE n.month = p.month AND n.version > p.version AND n.changed_at <= j.recorded_at)
    ORDER BY p.month LIMIT 1
) AS s
LIMIT $1;

-- name: booked_elsewhere
-- On another day than its own only what came after its month, or a later one, was closed.
SELECT 'journal' AS relation, 'jnl_' || encode(uuid_send(j.journal_id), 'hex') AS key,
    CASE WHEN j.event_on <> (j.occurred_at AT TIME ZONE 'Asia/Tokyo')::date
        THEN format('it happened at %s, which is not %s in Tokyo', j.occurred_at, j.event_on)
        ELSE format('it is of %s and was booked on %s, though its month was open', j.event_on, j.booked_on) END
        AS sentence
FROM books.journal AS j
WHERE j.source IN ('ledger', 'bank') AND (j.event_on <> (j.occurred_at AT TIME ZONE 'Asia/Tokyo')::date
    OR j.booked_on <> j.event_on AND NOT EXISTS (
        SELECT 1 FROM books.period_step AS p
        WHERE p.month >= date_trunc('month', j.event_on)::date AND p.state <> 'OPEN' AND p.changed_at <= j.recorded_at))
LIMIT $1;

-- name: broken_periods
-- The row before all calendar months is the gate between those who book and those who close.
SELECT 'period' AS relation, to_char(coalesce(p.month, s.month), 'YYYY-MM') AS key,
    format('it is %s at version %s, its last step %s at %s', coalesce(p.state, 'not there'), p.version,
        coalesce(s.state, 'is not there'), s.version) AS sentence
FROM (SELECT month, state, version FROM books.period WHERE month > '1900-01-01') AS p
FULL JOIN (
    SELECT month, max(version) AS version, count(*) AS steps, (array_agg(state ORDER BY version DESC))[1] AS state
    FROM books.period_step GROUP BY month
) AS s ON s.month = p.month
WHERE p.state IS DISTINCT FROM s.state OR p.version IS DISTINCT FROM s.version OR s.steps <> s.version
LIMIT $1;

-- name: doubled_events
SELECT 'journal' AS relation, event_id AS key, format('%s journals book it', count(*)) AS sentence
FROM books.journal WHERE source IN ('ledger', 'bank') GROUP BY source, event_id HAVING count(*) > 1
UNION ALL
SELECT 'unposted_event', u.event_id, 'it stands unposted, though a journal books it'
FROM books.unposted_event AS u
JOIN books.journal AS j ON j.event_id = u.event_id AND j.source = u.source
WHERE u.posted_at IS NULL
UNION ALL
SELECT 'unposted_event', u.event_id, 'it was posted, but no journal books it'
FROM books.unposted_event AS u
LEFT JOIN books.journal AS j ON j.event_id = u.event_id AND j.source = u.source
WHERE u.posted_at IS NOT NULL AND j.journal_id IS NULL
LIMIT $1;

-- name: places
-- Which accounts of the chart postings of a type were booked on; owners are told apart where rules do.
SELECT e.account_type, CASE WHEN e.owner = ANY ($1::text[]) THEN e.owner ELSE '' END AS owner, j.kind, e.account,
    e.tax_code, min(e.journal_id::text)::uuid AS journal_id
FROM books.entry AS e JOIN books.journal AS j ON j.journal_id = e.journal_id
WHERE e.account_type <> ''
GROUP BY e.account_type, CASE WHEN e.owner = ANY ($1::text[]) THEN e.owner ELSE '' END, j.kind, e.account, e.tax_code;

-- name: cursor
SELECT position, handled FROM books.subscription_cursor WHERE subscription = $1;

-- name: orders
SELECT exchange_id, ordered FROM books.crypto_order WHERE exchange_id = ANY($1::text[]);

-- name: order_names
SELECT exchange_id FROM books.crypto_order ORDER BY exchange_id;

-- name: any_journal
SELECT source FROM books.journal WHERE source = $1 LIMIT 1;

-- name: undelivered_ledger
SELECT position, payload, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM ledger.outbox
WHERE topic = 'ledger.exchange' AND (position IS NULL OR position >= $1) ORDER BY position NULLS LAST;

-- name: undelivered_bank
SELECT position, payload, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM bank.outbox
WHERE topic IN ('bank.transfer', 'bank.debit') AND (position IS NULL OR position >= $1) ORDER BY position NULLS LAST;

-- name: undelivered_payment
SELECT position, payload, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM payment.outbox
WHERE topic = 'payment.payment' AND (position IS NULL OR position >= $1) ORDER BY position NULLS LAST;

-- name: parked
SELECT payload, to_char(recorded_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM books.parked_event WHERE subscription = $1 AND resolved_at IS NULL;

-- name: unposted
SELECT payload, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') AS at
FROM books.unposted_event WHERE source = $1 AND posted_at IS NULL;

-- name: wrong_accounts
SELECT 'ledger_account' AS relation, 'acc_' || encode(uuid_send(b.account_id), 'hex') AS key,
    CASE WHEN a.account_id IS NULL THEN 'the ledger has no such account'
        ELSE format('it is %s''s %s, in the ledger %s''s %s', b.owner, b.account_type, a.owner, a.account_type) END
        AS sentence
FROM books.ledger_account AS b LEFT JOIN ledger.account AS a ON a.account_id = b.account_id
WHERE a.account_id IS NULL OR a.owner <> b.owner OR a.account_type <> b.account_type
LIMIT $1;

-- name: unequal_records
-- Each exchange's entries in the ledger, by instant and account type, and what is booked of them. What was not heard
-- yet, or stands unposted, is left out.
SELECT 'journal' AS relation, coalesce(t.exchange_id, o.exchange_id) AS key,
    format('%s: the ledger has +%s -%s at %s; booked is +%s -%s', coalesce(t.account_type, o.account_type),
        coalesce(t.credit, 0), coalesce(t.debit, 0), coalesce(t.at, o.at), coalesce(o.credit, 0), coalesce(o.debit, 0))
        AS sentence
FROM (
    SELECT 'exc_' || encode(uuid_send(l.exchange_id), 'hex') AS exchange_id, a.account_type, l.at,
        coalesce(sum(l.amount) FILTER (WHERE l.amount > 0), 0) AS credit,
        coalesce(-sum(l.amount) FILTER (WHERE l.amount < 0), 0) AS debit
    FROM (
        SELECT account_id, exchange_id, amount,
            '2020-01-01T00:00:00Z'::timestamptz + (flush_id >> 12) * interval '1 microsecond' AS at
        FROM ledger.account_log WHERE amount <> 0
        UNION ALL
        SELECT account_id, exchange_id, amount,
            '2020-01-01T00:00:00Z'::timestamptz + (flush_id >> 12) * interval '1 microsecond'
        FROM ledger.hot_log WHERE amount <> 0
    ) AS l
    JOIN ledger.account AS a ON a.account_id = l.account_id
    GROUP BY l.exchange_id, a.account_type, l.at
) AS t
FULL JOIN (
    SELECT coalesce(j.exchange_id, j.event_id) AS exchange_id, e.account_type, j.occurred_at AS at,
        coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit,
        coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit
    FROM books.journal AS j JOIN books.entry AS e ON e.journal_id = j.journal_id
    WHERE e.account_type <> ''
    GROUP BY coalesce(j.exchange_id, j.event_id), e.account_type, j.occurred_at
) AS o ON o.exchange_id = t.exchange_id AND o.account_type = t.account_type AND o.at = t.at
WHERE (t.credit IS DISTINCT FROM o.credit OR t.debit IS DISTINCT FROM o.debit)
    AND NOT (o.exchange_id IS NULL AND t.exchange_id || '@' || to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
        = ANY ($2::text[]))
LIMIT $1;

-- name: unequal_types
-- What is booked of each account type and what stands in the ledger, less what was not heard or stands unposted.
SELECT 'day_total' AS relation, coalesce(t.account_type, o.account_type) AS key,
    format('%s is booked, the ledger has %s, of which %s is not to be booked yet', coalesce(o.amount, 0),
        coalesce(t.amount, 0), coalesce(w.amount, 0)) AS sentence
FROM (
    SELECT a.account_type, sum(a.balance) + coalesce((SELECT sum(h.amount) FROM ledger.hot_log AS h
        JOIN ledger.account AS x ON x.account_id = h.account_id WHERE x.account_type = a.account_type), 0) AS amount
    FROM ledger.account AS a GROUP BY a.account_type
) AS t
FULL JOIN (
    SELECT account_type, sum(credit - debit) AS amount FROM books.day_total WHERE account_type <> ''
    GROUP BY account_type
) AS o ON o.account_type = t.account_type
LEFT JOIN (
    SELECT a.account_type, sum(u.amount) AS amount FROM unnest($2::uuid[], $3::bigint[]) AS u (account_id, amount)
    JOIN ledger.account AS a ON a.account_id = u.account_id GROUP BY a.account_type
) AS w ON w.account_type = coalesce(t.account_type, o.account_type)
WHERE coalesce(o.amount, 0) <> coalesce(t.amount, 0) - coalesce(w.amount, 0)
LIMIT $1;

-- name: unequal_lines
SELECT 'statement_line' AS relation,
    'acc_' || encode(uuid_send(coalesce(t.account_id, o.account_id)), 'hex') || '/' || coalesce(t.sequence, o.sequence)
        AS key,
    format('the ledger has %s to %s at %s, the statement %s to %s', t.amount, t.balance, t.at, o.amount, o.balance)
        AS sentence
FROM (
    SELECT l.account_id, l.sequence, l.amount, l.balance, a.account_type,
        'exc_' || encode(uuid_send(l.exchange_id), 'hex') AS exchange_id,
        '2020-01-01T00:00:00Z'::timestamptz + (l.flush_id >> 12) * interval '1 microsecond' AS at
    FROM ledger.account_log AS l JOIN ledger.account AS a ON a.account_id = l.account_id
    WHERE l.amount <> 0 AND a.account_type = ANY ($3::text[])
) AS t
FULL JOIN (
    SELECT account_id, sequence, sum(amount) AS amount, (array_agg(balance ORDER BY part DESC))[1] AS balance,
        min(account_type) AS account_type, min(exchange_id) AS exchange_id, min(occurred_at) AS at
    FROM books.statement_line GROUP BY account_id, sequence
) AS o ON o.account_id = t.account_id AND o.sequence = t.sequence
WHERE (t.amount IS DISTINCT FROM o.amount OR t.balance IS DISTINCT FROM o.balance OR t.at IS DISTINCT FROM o.at
        OR t.exchange_id IS DISTINCT FROM o.exchange_id OR t.account_type IS DISTINCT FROM o.account_type)
    AND NOT (o.account_id IS NULL AND t.exchange_id || '@' || to_char(t.at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')
        = ANY ($2::text[]))
LIMIT $1;

-- name: strange_lines
SELECT 'statement_line' AS relation, 'acc_' || encode(uuid_send(account_id), 'hex') || '/' || sequence AS key,
    format('it happened at %s, and stands on %s in the book of %s', occurred_at, event_on, book_on) AS sentence
FROM books.statement_line
WHERE event_on <> (occurred_at AT TIME ZONE 'Asia/Tokyo')::date
    OR book_on <> event_on AND book_on > coalesce((SELECT f.cut_on FROM books.statutory_feed AS f
        WHERE f.feed = 'ledger'), event_on) + 1
LIMIT $1;

-- name: broken_account_days
SELECT 'account_day' AS relation, 'acc_' || encode(uuid_send(coalesce(d.account_id, l.account_id)), 'hex') || '/'
        || coalesce(d.book_on, l.book_on) AS key,
    format('it opens with %s after %s, and tells +%s -%s in %s lines; its lines are +%s -%s in %s', d.opening,
        coalesce(d.before, 0), d.credits, d.debits, d.lines, l.credits, l.debits, l.lines) AS sentence
FROM (
    SELECT account_id, book_on, opening, credits, debits, lines,
        lag(closing) OVER (PARTITION BY account_id ORDER BY book_on) AS before
    FROM books.account_day
) AS d
FULL JOIN (
    SELECT account_id, book_on, coalesce(sum(amount) FILTER (WHERE amount > 0), 0) AS credits,
        coalesce(-sum(amount) FILTER (WHERE amount < 0), 0) AS debits, count(*) AS lines
    FROM books.statement_line
    WHERE book_on <= (SELECT max(s.book_on) FROM books.statutory_day AS s)
    GROUP BY account_id, book_on
) AS l ON l.account_id = d.account_id AND l.book_on = d.book_on
WHERE d.opening IS DISTINCT FROM coalesce(d.before, 0) OR d.credits IS DISTINCT FROM l.credits
    OR d.debits IS DISTINCT FROM l.debits OR d.lines IS DISTINCT FROM l.lines
LIMIT $1;

-- name: broken_book_days
-- Z = Z₋₁ + X − Y for every type and day, closed with what the accounts' days and the ledger tell.
SELECT 'book_day' AS relation, d.book_on || '/' || d.account_type AS key,
    format('it opens with %s after %s, moves %s by its categories and %s by its accounts, and closes with %s (told %s)',
        d.opening, coalesce(d.before, 0), coalesce(c.amount, 0), coalesce(a.amount, 0), d.closing, d.told) AS sentence
FROM (
    SELECT book_on, account_type, opening, closing, told, differing,
        lag(closing) OVER (PARTITION BY account_type ORDER BY book_on) AS before
    FROM books.book_day
) AS d
LEFT JOIN (
    SELECT book_on, account_type, sum(amount) AS amount FROM books.book_day_category GROUP BY book_on, account_type
) AS c ON c.book_on = d.book_on AND c.account_type = d.account_type
LEFT JOIN (
    SELECT book_on, account_type, sum(credits - debits) AS amount FROM books.account_day GROUP BY book_on, account_type
) AS a ON a.book_on = d.book_on AND a.account_type = d.account_type
WHERE d.opening <> coalesce(d.before, 0) OR d.opening + coalesce(c.amount, 0) <> d.closing
    OR coalesce(a.amount, 0) <> coalesce(c.amount, 0) OR d.closing <> d.told OR d.differing <> 0
LIMIT $1;

-- name: broken_day_chain
SELECT 'statutory_day' AS relation, d.book_on::text AS key,
    'it does not continue the day before' AS sentence
FROM (
    SELECT book_on, previous_digest, lag(digest) OVER (ORDER BY book_on) AS before,
        lag(book_on) OVER (ORDER BY book_on) AS day_before
    FROM books.statutory_day
) AS d
WHERE d.before IS NOT NULL AND (d.previous_digest <> d.before OR d.day_before <> d.book_on - 1)
LIMIT $1;

-- name: unequal_instructions
SELECT 'journal' AS relation, coalesce(t.instruction_id, o.instruction_id) AS key,
    format('the bank service says that it is %s and moved %s; booked is %s', coalesce(t.state, 'not there'),
        coalesce(t.amount, 0), coalesce(o.amount, 0)) AS sentence
FROM (
    SELECT CASE kind WHEN 'transfer' THEN 'btr_' ELSE 'bdb_' END || encode(uuid_send(instruction_id), 'hex')
            AS instruction_id, state,
        CASE WHEN state <> 'DONE' THEN 0 WHEN kind = 'transfer' THEN -amount_minor ELSE amount_minor END AS amount
    FROM bank.instruction
) AS t
FULL JOIN (
    SELECT j.exchange_id AS instruction_id, coalesce(sum(e.amount) FILTER (WHERE e.account = ANY ($3::text[])), 0)
        AS amount
    FROM books.journal AS j JOIN books.entry AS e ON e.journal_id = j.journal_id
    WHERE j.source = 'bank' GROUP BY j.exchange_id
) AS o ON o.instruction_id = t.instruction_id
WHERE (coalesce(t.amount, 0) <> coalesce(o.amount, 0) OR t.instruction_id IS NULL)
    AND NOT coalesce(t.instruction_id, o.instruction_id) = ANY ($2::text[])
LIMIT $1;

-- name: unequal_payment_steps
SELECT 'payment_step' AS relation, coalesce(o.payment_id || '/' || o.version, encode(uuid_send(t.payment_id), 'hex') || '/' || t.sequence)
    AS key,
    CASE WHEN t.payment_id IS NULL THEN 'the payment service has no such step'
        WHEN o.payment_id IS NULL THEN 'it is missing, though it was published'
        ELSE format('it is %s of %s, recorded was %s of %s', o.action, o.amount_minor, t.action, t.amount_minor) END
        AS sentence
FROM payment.payment_step AS t
FULL JOIN books.payment_step AS o
    ON substr(o.payment_id, 5) = encode(uuid_send(t.payment_id), 'hex') AND o.version = t.sequence
WHERE (t.payment_id IS NULL OR o.payment_id IS NULL OR o.action <> t.action OR o.state <> t.state
        OR o.amount_minor <> t.amount_minor OR o.processing_id <> t.processing_id)
    AND NOT (o.payment_id IS NULL AND encode(uuid_send(t.payment_id), 'hex') || '/' || t.sequence = ANY ($2::text[]))
LIMIT $1;

-- name: broken_payment_steps
SELECT 'payment_step' AS relation, s.payment_id || '/' || s.version AS key,
    format('it tells %s captured and %s refunded; its steps make that %s and %s', s.captured_minor, s.refunded_minor,
        s.captured, s.refunded) AS sentence
FROM (
    SELECT payment_id, version, captured_minor, refunded_minor,
        coalesce(sum(amount_minor) FILTER (WHERE action = 'capture') OVER steps, 0) AS captured,
        coalesce(sum(amount_minor) FILTER (WHERE action = 'refund') OVER steps, 0) AS refunded
    FROM books.payment_step WINDOW steps AS (PARTITION BY payment_id ORDER BY version)
) AS s
WHERE s.captured_minor <> s.captured OR s.refunded_minor <> s.refunded
LIMIT $1;

-- name: strange_payment_steps
SELECT 'payment_step' AS relation, o.payment_id || '/' || o.version AS key,
    'its payment is of another kind, between others, or has another exchange' AS sentence
FROM books.payment_step AS o
JOIN payment.payment AS p ON encode(uuid_send(p.payment_id), 'hex') = substr(o.payment_id, 5)
WHERE o.kind <> p.kind OR o.payer_id <> p.payer_id OR o.payee_id <> p.payee_id OR o.asset <> p.asset
    OR substr(o.exchange_id, 5) <> encode(uuid_send(p.exchange_id), 'hex')
LIMIT $1;

-- name: broken_findings
SELECT 'reconciliation_finding' AS relation, 'rcf_' || encode(uuid_send(f.finding_id), 'hex') AS key,
    format('it is %s after %s steps; there are %s, to %s', f.state, f.version, coalesce(s.steps, 0),
        coalesce(s.state, 'none')) AS sentence
FROM books.reconciliation_finding AS f
LEFT JOIN (
    SELECT finding_id, count(*) AS steps, max(sequence) AS last, (array_agg(state ORDER BY sequence DESC))[1] AS state
    FROM books.reconciliation_finding_step GROUP BY finding_id
) AS s ON s.finding_id = f.finding_id
WHERE s.steps IS DISTINCT FROM f.version OR s.last IS DISTINCT FROM f.version OR s.state IS DISTINCT FROM f.state
LIMIT $1;

-- name: closings
SELECT month, changed_at, state = 'OPEN' AS open FROM books.period_step ORDER BY changed_at, month, version;

-- name: published_ledger
SELECT position, topic, payload, recorded_at FROM ledger.outbox
WHERE topic = 'ledger.exchange' AND position IS NOT NULL ORDER BY position;

-- name: published_bank
SELECT position, topic, payload, recorded_at FROM bank.outbox
WHERE topic IN ('bank.transfer', 'bank.debit') AND position IS NOT NULL ORDER BY position;

-- name: published_payment
SELECT position, topic, payload, recorded_at FROM payment.outbox
WHERE topic = 'payment.payment' AND position IS NOT NULL ORDER BY position;

-- name: booked_journals
SELECT encode(uuid_send(journal_id), 'hex') AS journal_id, source, event_id, kind, action, rule, rule_version,
    booked_on, event_on, occurred_at, recorded_at, exchange_id, payment_id, processing_id, merchant, product,
    encode(uuid_send(reverses), 'hex') AS reverses, description, posted_by, origin
FROM books.journal WHERE journal_id >= $1 AND journal_id < $2 AND source IN ('ledger', 'bank') ORDER BY journal_id;

-- name: booked_entries
SELECT encode(uuid_send(journal_id), 'hex') AS journal_id, line, account, asset, amount, tax_code, account_type, owner,
    booked_on
FROM books.entry WHERE journal_id >= $1 AND journal_id < $2 ORDER BY journal_id, line;

-- name: misplaced_journals
-- Journals of events whose ids are none of events.
SELECT 'jnl_' || encode(uuid_send(journal_id), 'hex') AS key FROM books.journal
WHERE source IN ('ledger', 'bank') AND (journal_id < $2 OR journal_id >= $3) LIMIT $1;

-- name: accounts
SELECT account_id, owner, account_type FROM ledger.account WHERE account_id = ANY ($1::uuid[]);

-- name: originals
SELECT DISTINCT ON (exchange_id) exchange_id, kind, payment_id, merchant, coalesce(origin, exchange_id) AS root
FROM books.journal WHERE exchange_id = ANY ($1::text[]) AND source = 'ledger' ORDER BY exchange_id, journal_id;

-- name: taxed
-- What is booked under tax codes of exchanges, and of all that reverses them, journal by journal.
SELECT coalesce(j.origin, j.exchange_id) AS root, j.origin IS NOT NULL AS is_back, j.recorded_at,
    encode(uuid_send(j.journal_id), 'hex') AS journal_id, e.account_type, e.owner, e.asset, e.tax_code, e.account,
    e.amount
FROM books.journal AS j JOIN books.entry AS e ON e.journal_id = j.journal_id
WHERE (j.origin = ANY ($1::text[]) OR j.exchange_id = ANY ($1::text[]) AND j.origin IS NULL) AND j.source = 'ledger'
    AND e.tax_code <> '';

-- name: held
SELECT exchange_id, payment_id FROM books.held_exchange WHERE exchange_id = ANY ($1::text[]);

-- name: instruction_journals
SELECT encode(uuid_send(journal_id), 'hex') AS journal_id, exchange_id, recorded_at, kind, payment_id, merchant
FROM books.journal WHERE exchange_id = ANY ($1::text[]) AND source = 'bank' ORDER BY recorded_at, journal_id;

-- name: excused
-- Those of the events that stand unposted, or are parked.
SELECT event_id FROM books.unposted_event WHERE event_id = ANY ($1::text[]) AND posted_at IS NULL
UNION ALL
SELECT source || '/' || position || '/' || ordinal FROM books.parked_event
WHERE subscription = $2 AND resolved_at IS NULL AND source || '/' || position || '/' || ordinal = ANY ($1::text[]);

-- name: kept_payment_steps
SELECT s.payment_id, s.version, s.kind, s.action, s.state, s.asset, s.amount_minor, s.fee_minor, s.captured_minor,
    s.refunded_minor, s.payer_id, s.payee_id, s.beneficiary_id, s.exchange_id, s.refund_id, s.processing_id,
    s.occurred_at, s.recorded_at
FROM unnest($1::text[], $2::bigint[]) AS u (payment_id, version)
JOIN books.payment_step AS s ON s.payment_id = u.payment_id AND s.version = u.version;

-- name: seals
SELECT chain, number, records, digest, seal FROM books.seal WHERE chain = $1 ORDER BY number;

-- name: seal_head
SELECT number, seal FROM books.seal_head WHERE chain = $1;

-- name: unsealed
-- What is sealed not exactly once, and what is sealed but is not there.
SELECT w.relation, coalesce(w.record, s.record) AS key, coalesce(w.chain, s.chain) AS chain,
    CASE WHEN w.record IS NULL THEN 'it is sealed, but is not there'
        WHEN s.record IS NULL THEN 'no seal is over it' ELSE format('%s seals are over it', s.seals) END AS sentence
FROM (
    SELECT 'journal' AS chain, 'journal' AS relation, encode(uuid_send(journal_id), 'hex') AS record FROM books.journal
    WHERE source NOT IN ('ledger', 'bank')
    UNION ALL
    SELECT 'safeguard', 'safeguard', book || '/' || reference FROM books.safeguard
    UNION ALL
    SELECT 'wallet_count', 'wallet_count', wallet || '/' || asset || '/' || to_char(counted_on, 'YYYY-MM-DD')
    FROM books.wallet_count
    UNION ALL
    SELECT 'asset_price', 'asset_price', asset || '/' || to_char(price_on, 'YYYY-MM-DD') FROM books.asset_price
) AS w
FULL JOIN (
    SELECT chain, r.record, count(*) AS seals FROM books.seal CROSS JOIN LATERAL unnest(records) AS r (record)
    GROUP BY chain, r.record
) AS s ON s.chain = w.chain AND s.record = w.record
WHERE w.record IS NULL OR s.record IS NULL OR s.seals <> 1
LIMIT $1;
