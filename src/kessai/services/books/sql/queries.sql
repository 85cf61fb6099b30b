-- What the bookkeeper reads and writes. The desks have files of their own beside this one.

-- name: insert_accounts
INSERT INTO books.ledger_account (account_id, owner, account_type, opened_at)
SELECT u.account_id, u.owner, u.account_type, u.opened_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) AS u (account_id, owner, account_type, opened_at)
ON CONFLICT (account_id) DO NOTHING
RETURNING account_id;

-- name: any_account
SELECT account_id FROM books.ledger_account LIMIT 1;

-- name: load_accounts
SELECT account_id, owner, account_type FROM books.ledger_account WHERE account_id = ANY($1::uuid[]);

-- name: load_originals
SELECT DISTINCT ON (exchange_id) exchange_id, kind, payment_id, merchant, coalesce(origin, exchange_id) AS root
FROM books.journal WHERE exchange_id = ANY($1::text[])
ORDER BY exchange_id, journal_id;

-- name: load_taxed
-- What is booked under tax codes of exchanges, and of all that reverses them.
SELECT j.root, j.is_back, e.account_type, e.owner, e.asset, e.tax_code, e.account, sum(e.amount)::bigint AS amount
FROM (
    SELECT journal_id, exchange_id AS root, false AS is_back FROM books.journal
    WHERE exchange_id = ANY($1::text[]) AND origin IS NULL
    UNION ALL
    SELECT journal_id, origin AS root, true AS is_back FROM books.journal WHERE origin = ANY($1::text[])
) AS j
JOIN books.entry AS e ON e.journal_id = j.journal_id
WHERE e.tax_code <> ''
GROUP BY j.root, j.is_back, e.account_type, e.owner, e.asset, e.tax_code, e.account;

-- name: insert_held
INSERT INTO books.held_exchange (exchange_id, payment_id)
SELECT u.exchange_id, u.payment_id FROM unnest($1::text[], $2::text[]) AS u (exchange_id, payment_id)
ON CONFLICT (exchange_id) DO NOTHING;

-- name: load_held
SELECT exchange_id, payment_id FROM books.held_exchange WHERE exchange_id = ANY($1::text[]);

-- name: booked_journals
SELECT journal_id FROM books.journal WHERE journal_id = ANY($1::uuid[]);

-- name: add_totals
INSERT INTO books.day_total AS t (account, booked_on, event_on, asset, account_type, kind, tax_code, debit, credit,
    entries)
SELECT u.account, u.booked_on, u.event_on, u.asset, u.account_type, u.kind, u.tax_code, u.debit, u.credit, u.entries
FROM unnest($1::text[], $2::date[], $3::date[], $4::text[], $5::text[], $6::text[], $7::text[], $8::numeric[],
    $9::numeric[], $10::bigint[])
    AS u (account, booked_on, event_on, asset, account_type, kind, tax_code, debit, credit, entries)
ON CONFLICT (account, booked_on, event_on, asset, account_type, kind, tax_code) DO UPDATE
SET debit = t.debit + excluded.debit, credit = t.credit + excluded.credit, entries = t.entries + excluded.entries;

-- name: move_feed
-- The row is locked for the batch: a day that is being cut waits for it, and it for the cut.
UPDATE books.statutory_feed SET
    seen_at = greatest(seen_at, $1::timestamptz),
    first_on = CASE WHEN $2::date IS NULL THEN first_on
        ELSE least(coalesce(first_on, 'infinity'), greatest($2::date, cut_on + 1)) END
WHERE feed = 'ledger'
RETURNING seen_at, first_on, cut_on;

-- name: parked_before
SELECT count(*) AS events FROM books.parked_event
WHERE subscription = ANY($1::text[]) AND resolved_at IS NULL AND coalesce(recorded_at, parked_at) < $2::timestamptz;

-- name: unwritten_before
SELECT count(*) AS events FROM books.unposted_event
WHERE posted_at IS NULL AND source = 'ledger' AND reason = ANY($1::text[]) AND occurred_at < $2::timestamptz;

-- name: insert_unposted
INSERT INTO books.unposted_event (event_id, source, position, ordinal, topic, payload, subject, occurred_at, reason,
    detail, attempts, parked_at)
SELECT u.event_id, u.source, u.position, u.ordinal, u.topic, u.payload, u.subject, u.occurred_at, u.reason, u.detail,
    1, $11
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::int[], $5::text[], $6::bytea[], $7::text[], $8::timestamptz[],
    $9::text[], $10::text[])
    AS u (event_id, source, position, ordinal, topic, payload, subject, occurred_at, reason, detail)
ON CONFLICT (event_id) DO NOTHING
RETURNING reason;

-- name: lock_unposted
SELECT event_id, source, position, ordinal, topic, payload, occurred_at, reason FROM books.unposted_event
WHERE event_id = ANY($1::text[]) AND posted_at IS NULL
ORDER BY event_id FOR UPDATE;

-- name: settle_unposted
UPDATE books.unposted_event SET posted_at = $2 WHERE event_id = ANY($1::text[]) AND posted_at IS NULL;

-- name: keep_unposted
UPDATE books.unposted_event AS e SET reason = u.reason, detail = u.detail, attempts = e.attempts + 1
FROM unnest($1::text[], $2::text[], $3::text[]) AS u (event_id, reason, detail)
WHERE e.event_id = u.event_id AND e.posted_at IS NULL;

-- name: unposted_of_accounts
SELECT event_id FROM books.unposted_event
WHERE posted_at IS NULL AND reason = 'account_unknown' AND detail = ANY($1::text[])
ORDER BY parked_at, event_id LIMIT $2;

-- name: unposted_of_known
-- Events that wait for an account that is known by now.
SELECT u.event_id FROM books.unposted_event AS u
JOIN books.ledger_account AS a ON a.account_id = CASE WHEN u.reason = 'account_unknown' THEN substr(u.detail, 5)::uuid END
WHERE u.posted_at IS NULL AND u.reason = 'account_unknown'
ORDER BY u.parked_at, u.event_id LIMIT $1;

-- name: unposted_of_subjects
SELECT event_id, subject FROM books.unposted_event WHERE posted_at IS NULL AND subject = ANY($1::text[]);

-- name: unposted_standing
SELECT event_id, parked_at FROM books.unposted_event
WHERE posted_at IS NULL AND (parked_at, event_id) > ($1::timestamptz, $2::text)
    AND ($3::text IS NULL OR reason = $3) AND ($4::text IS NULL OR detail = $4)
ORDER BY parked_at, event_id LIMIT $5;

-- name: count_unposted
SELECT reason, count(*) AS events FROM books.unposted_event WHERE posted_at IS NULL GROUP BY reason ORDER BY reason;
