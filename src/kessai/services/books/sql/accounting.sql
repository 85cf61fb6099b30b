-- name: create_gate
INSERT INTO books.period (month, state, version, changed_at, changed_by)
VALUES ($1::date, 'OPEN', 1, $2::timestamptz, 'books')
ON CONFLICT (month) DO NOTHING;

-- name: share_gate
SELECT version FROM books.period WHERE month = $1::date FOR SHARE;

-- name: move_gate
UPDATE books.period SET version = version + 1, changed_at = $2::timestamptz WHERE month = $1::date
RETURNING version;

-- name: standing
SELECT max(month) FILTER (WHERE state IN ('CLOSED', 'LOCKED')) AS closed_through,
    max(month) FILTER (WHERE state = 'LOCKED') AS locked_through
FROM books.period
WHERE month > $1::date;

-- name: write_period
WITH moved AS (
    INSERT INTO books.period AS p (month, state, version, changed_at, changed_by)
    VALUES ($1::date, $2::text, 1, $4::timestamptz, $5::text)
    ON CONFLICT (month) DO UPDATE SET state = excluded.state, version = p.version + 1,
        changed_at = excluded.changed_at, changed_by = excluded.changed_by
    RETURNING month, state, version, changed_at, changed_by
)
INSERT INTO books.period_step (month, version, state, reason, changed_at, changed_by)
SELECT m.month, m.version, m.state, $3::text, m.changed_at, m.changed_by FROM moved AS m
RETURNING version;

-- name: period_steps
SELECT month, version, state, reason, changed_at, changed_by
FROM books.period_step
WHERE month BETWEEN $1::date AND $2::date
ORDER BY month, version;

-- name: first_booked_on
SELECT min(booked_on) AS first_day FROM books.journal;

-- name: count_unposted_before
SELECT count(*) AS events FROM books.unposted_event WHERE posted_at IS NULL AND occurred_at < $1::timestamptz;

-- name: account_sums
SELECT account, asset,
    sum(debit) FILTER (WHERE booked_on < $3::date) AS earlier_debit,
    sum(credit) FILTER (WHERE booked_on < $3::date) AS earlier_credit,
    sum(debit) FILTER (WHERE booked_on >= $3::date AND booked_on < $1::date) AS opening_debit,
    sum(credit) FILTER (WHERE booked_on >= $3::date AND booked_on < $1::date) AS opening_credit,
    sum(debit) FILTER (WHERE booked_on >= $1::date) AS debit,
    sum(credit) FILTER (WHERE booked_on >= $1::date) AS credit
FROM books.day_total
WHERE booked_on <= $2::date
GROUP BY account, asset
ORDER BY account, asset;

-- name: account_ends
SELECT account,
    sum(debit - credit) FILTER (WHERE booked_on < $5::date) AS earlier,
    sum(debit - credit) FILTER (WHERE booked_on < $3::date) AS opening,
    sum(debit - credit) AS closing
FROM books.day_total
WHERE account = ANY ($1::text[]) AND asset = $2::text AND booked_on <= $4::date
GROUP BY account;

-- name: balances_of
SELECT account, asset, sum(debit - credit) AS balance
FROM books.day_total
WHERE account = ANY ($1::text[]) AND booked_on <= $2::date
    AND (booked_on >= $3::date OR NOT account = ANY ($4::text[]))
GROUP BY account, asset
ORDER BY account, asset;

-- name: month_sums
SELECT account, (extract(year FROM booked_on) * 12 + extract(month FROM booked_on))::int AS month,
    sum(debit) - sum(credit) AS amount
FROM books.day_total
WHERE booked_on <= $1::date AND asset = $2::text
GROUP BY account, month
ORDER BY account, month;

-- name: tax_sums
SELECT tax_code, account, sum(debit - credit) AS amount
FROM books.day_total
WHERE booked_on BETWEEN $1::date AND $2::date AND tax_code <> '' AND asset = $3::text
GROUP BY tax_code, account
ORDER BY tax_code, account;

-- name: type_sums
SELECT account_type, asset, kind,
    sum(credit - debit) FILTER (WHERE booked_on < $2::date) AS opening,
    sum(debit) FILTER (WHERE booked_on >= $2::date) AS debit,
    sum(credit) FILTER (WHERE booked_on >= $2::date) AS credit
FROM books.day_total
WHERE account_type = ANY ($1::text[]) AND booked_on <= $3::date
GROUP BY account_type, asset, kind
ORDER BY account_type, asset, kind;

-- name: journals_named
SELECT journal_id, source, event_id, kind, action, rule, rule_version, booked_on, event_on, occurred_at, recorded_at,
    exchange_id, payment_id, processing_id, merchant, product, reverses, description, posted_by
FROM books.journal
WHERE journal_id = ANY ($1::uuid[])
ORDER BY journal_id;

-- name: journals_by_day
SELECT journal_id, source, event_id, kind, action, rule, rule_version, booked_on, event_on, occurred_at, recorded_at,
    exchange_id, payment_id, processing_id, merchant, product, reverses, description, posted_by
FROM books.journal
WHERE (booked_on, journal_id) > ($1::date, $2::uuid) AND booked_on BETWEEN $1::date AND $3::date
ORDER BY booked_on, journal_id
LIMIT $4::int;

-- name: journals_of_payments
SELECT journal_id, source, event_id, kind, action, rule, rule_version, booked_on, event_on, occurred_at, recorded_at,
    exchange_id, payment_id, processing_id, merchant, product, reverses, description, posted_by
FROM books.journal
WHERE payment_id = ANY ($1::text[])
ORDER BY payment_id, booked_on, journal_id;

-- name: entries_named
SELECT journal_id, line, account, asset, amount, tax_code, account_type, owner
FROM books.entry
WHERE journal_id = ANY ($1::uuid[])
ORDER BY journal_id, line;

-- name: entries_of_account
SELECT e.journal_id, e.line, e.booked_on, e.amount, e.tax_code, j.event_on, j.source, j.kind, j.description
FROM books.entry AS e
JOIN books.journal AS j ON j.journal_id = e.journal_id
WHERE e.account = $1::text AND e.asset = $2::text AND e.booked_on BETWEEN $3::date AND $4::date
    AND (e.booked_on, e.journal_id, e.line) > ($3::date, $5::uuid, $6::int)
ORDER BY e.booked_on, e.journal_id, e.line
LIMIT $7::int;

-- name: unposted_after
SELECT event_id, topic, reason, detail, attempts, occurred_at, parked_at
FROM books.unposted_event
WHERE posted_at IS NULL AND (parked_at, event_id) > ($1::timestamptz, $2::text)
ORDER BY parked_at, event_id
LIMIT $3::int;

-- name: unposted_named
SELECT event_id, topic, reason, detail, attempts, occurred_at, parked_at
FROM books.unposted_event
WHERE event_id = ANY ($1::text[]) AND posted_at IS NULL
ORDER BY event_id;
