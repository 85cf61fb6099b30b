-- What people record for the statutory books, and what the books' reports read.

-- name: insert_safeguard
INSERT INTO books.safeguard
    (book, reference, means, subject, amount, effective_on, place, book_on, recorded_at, recorded_by)
VALUES ($1::text, $2::text, $3::text, $4::text, $5::bigint, $6::date, $7::text, $8::date, $9::timestamptz, $10::text)
ON CONFLICT (book, reference) DO NOTHING
RETURNING reference;

-- name: safeguard_named
SELECT book, reference, means, subject, amount, effective_on, place
FROM books.safeguard WHERE book = $1::text AND reference = $2::text;

-- name: safeguards_until
-- All that stands in the books up to a day.
SELECT book, reference, means, subject, amount, effective_on, place, book_on
FROM books.safeguard WHERE book = $1::text AND book_on <= $2::date
ORDER BY book_on, effective_on, reference;

-- name: insert_wallet_counts
INSERT INTO books.wallet_count (wallet, asset, counted_on, cold, quantity, book_on, recorded_at, recorded_by)
SELECT u.wallet, u.asset, $1::date, u.cold, u.quantity, $2::date, $3::timestamptz, $4::text
FROM unnest($5::text[], $6::text[], $7::boolean[], $8::bigint[]) AS u (wallet, asset, cold, quantity)
ON CONFLICT (wallet, asset, counted_on) DO NOTHING
RETURNING wallet, asset;

-- name: wallet_counts_of
SELECT wallet, asset, cold, quantity FROM books.wallet_count WHERE counted_on = $1::date;

-- name: wallets_on
-- Each wallet as it was last counted up to a day.
SELECT DISTINCT ON (wallet, asset) wallet, asset, counted_on, cold, quantity
FROM books.wallet_count WHERE book_on <= $1::date
ORDER BY wallet, asset, counted_on DESC;

-- name: insert_prices
INSERT INTO books.asset_price (asset, price_on, unit_price, source, book_on, recorded_at, recorded_by)
SELECT u.asset, $1::date, u.unit_price, $2::text, $3::date, $4::timestamptz, $5::text
FROM unnest($6::text[], $7::text[]) AS u (asset, unit_price)
ON CONFLICT (asset, price_on) DO NOTHING
RETURNING asset;

-- name: prices_of
SELECT asset, unit_price, source FROM books.asset_price WHERE price_on = $1::date;

-- name: prices_on
-- The latest price of each asset up to a day: recorded, or of the last trade for yen where that is later. What undoes a
-- trade has that one's price, which tells nothing of the day on which it is undone.
SELECT a.asset, coalesce(p.unit_price, t.unit_price) AS unit_price, coalesce(p.source, 'last_trade') AS source,
    coalesce(p.price_on, t.book_on) AS price_on
FROM unnest($2::text[]) AS a (asset)
LEFT JOIN LATERAL (
    SELECT unit_price, book_on FROM books.crypto_trade
    WHERE book_on <= $1::date AND asset = a.asset AND price_asset = 'JPY' AND unit_price <> ''
        AND reverses IS NULL
    ORDER BY book_on DESC, executed_at DESC, exchange_id DESC, action_id DESC LIMIT 1
) AS t ON true
LEFT JOIN LATERAL (
    SELECT unit_price, source, price_on FROM books.asset_price
    WHERE asset = a.asset AND book_on <= $1::date AND price_on >= coalesce(t.book_on, '-infinity')
    ORDER BY price_on DESC LIMIT 1
) AS p ON true;

-- name: book_days_between
SELECT b.book_on, b.account_type, b.asset, b.opening, b.closing, b.told, b.accounts, b.moved, b.differing
FROM books.book_day AS b
WHERE b.book_on >= $1::date AND b.book_on <= $2::date AND b.account_type = ANY ($3::text[])
ORDER BY b.book_on, b.account_type;

-- name: categories_between
SELECT book_on, account_type, category, amount, lines, late_lines
FROM books.book_day_category
WHERE book_on >= $1::date AND book_on <= $2::date AND account_type = ANY ($3::text[])
ORDER BY book_on, account_type, category;

-- name: securities_between
SELECT book_on, transfer_type, business_day, obligation, procedure_cost, required
FROM books.security_day
WHERE book_on >= $1::date AND book_on <= $2::date
ORDER BY book_on, transfer_type;

-- name: count_over_cap
SELECT count(*) AS customers FROM books.over_cap_day WHERE book_on = $1::date;

-- name: over_cap_after
SELECT owner, 'acc_' || encode(uuid_send(account_id), 'hex') AS account_id, account_type, balance, cap,
    balance - cap AS over, since, $4::date - since + 1 AS days
FROM books.over_cap_day
WHERE book_on = $1::date AND account_id > $2::text::uuid
ORDER BY over_cap_day.account_id LIMIT $3::int;

-- The rows of long books come as their reports have them; what a page goes on from stands at the end.

-- name: lines_after
SELECT owner, 'acc_' || encode(uuid_send(account_id), 'hex') AS account, book_on, event_on, occurred_at, kind, action,
    category, counterparty, CASE WHEN amount > 0 THEN amount END AS received,
    CASE WHEN amount < 0 THEN -amount END AS paid, balance, exchange_id, payment_id, sequence, part
FROM books.statement_line
WHERE book_on = $1::date AND account_type = $2::text
    AND (account_id, sequence, part) > ($3::text::uuid, $4::bigint, $5::int)
ORDER BY account_id, sequence, part LIMIT $6::int;

-- name: lines_of_account
SELECT owner, 'acc_' || encode(uuid_send(account_id), 'hex') AS account, book_on, event_on, occurred_at, kind, action,
    category, counterparty, CASE WHEN amount > 0 THEN amount END AS received,
    CASE WHEN amount < 0 THEN -amount END AS paid, balance, exchange_id, payment_id, sequence, part
FROM books.statement_line
WHERE account_id = $1::text::uuid AND (sequence, part) > ($2::bigint, $3::int)
    AND book_on >= $4::date AND book_on <= $5::date
ORDER BY sequence, part LIMIT $6::int;

-- name: crypto_lines_after
SELECT l.owner, 'acc_' || encode(uuid_send(l.account_id), 'hex') AS account, l.book_on, l.event_on, t.ordered_at,
    l.occurred_at, l.category, t.side, t.asset AS traded_asset, t.quantity, t.unit_price, t.price_asset,
    t.fee, l.asset, CASE WHEN l.amount > 0 THEN l.amount END AS received,
    CASE WHEN l.amount < 0 THEN -l.amount END AS paid, l.balance, l.exchange_id, l.sequence, l.part
FROM (
    SELECT owner, account_id, book_on, event_on, occurred_at, category, asset, amount, balance, exchange_id, action_id,
        sequence, part
    FROM books.statement_line
    WHERE book_on = $1::date AND account_type = $2::text
        AND (account_id, sequence, part) > ($3::text::uuid, $4::bigint, $5::int)
    ORDER BY account_id, sequence, part LIMIT $6::int
) AS l
LEFT JOIN books.crypto_trade AS t ON t.exchange_id = l.exchange_id AND t.owner = l.owner
    AND t.action_id = coalesce(l.action_id, '')
ORDER BY l.account_id, l.sequence, l.part;

-- name: crypto_lines_of_account
SELECT l.owner, 'acc_' || encode(uuid_send(l.account_id), 'hex') AS account, l.book_on, l.event_on, t.ordered_at,
    l.occurred_at, l.category, t.side, t.asset AS traded_asset, t.quantity, t.unit_price, t.price_asset,
    t.fee, l.asset, CASE WHEN l.amount > 0 THEN l.amount END AS received,
    CASE WHEN l.amount < 0 THEN -l.amount END AS paid, l.balance, l.exchange_id, l.sequence, l.part
FROM (
    SELECT owner, account_id, book_on, event_on, occurred_at, category, asset, amount, balance, exchange_id, action_id,
        sequence, part
    FROM books.statement_line
    WHERE account_id = $1::text::uuid AND (sequence, part) > ($2::bigint, $3::int)
        AND book_on >= $4::date AND book_on <= $5::date
    ORDER BY sequence, part LIMIT $6::int
) AS l
LEFT JOIN books.crypto_trade AS t ON t.exchange_id = l.exchange_id AND t.owner = l.owner
    AND t.action_id = coalesce(l.action_id, '')
ORDER BY l.sequence, l.part;

-- name: diary_after
SELECT book_on, event_on, executed_at, owner, capacity, side, asset, quantity, unit_price, price_asset, amount,
    CASE WHEN capacity = 'AGENCY' THEN counterparty ELSE '' END AS counterparty, fee, exchange_id, reverses,
    action_id
FROM books.crypto_trade
WHERE book_on = $1::date
    AND (executed_at, exchange_id, owner, action_id) > ($2::timestamptz, $3::text, $4::text, $5::text)
ORDER BY executed_at, exchange_id, owner, action_id LIMIT $6::int;

-- name: slips_after
SELECT book_on, exchange_id || '/' || owner || CASE WHEN action_id = '' THEN '' ELSE '/' || action_id END AS slip, ordered_at, owner, capacity, side, asset, ordered, order_kind,
    limit_price, quantity, executed_at, unit_price, price_asset, reverses, exchange_id,
    action_id
FROM books.crypto_trade
WHERE book_on = $1::date
    AND (executed_at, exchange_id, owner, action_id) > ($2::timestamptz, $3::text, $4::text, $5::text)
ORDER BY executed_at, exchange_id, owner, action_id LIMIT $6::int;

-- name: balances_after
-- What each customer has at the end of a day, whether it moved on that day or long before.
SELECT s.owner, 'acc_' || encode(uuid_send(s.account_id), 'hex') AS account, $2::text AS account_type, s.asset,
    d.closing, d.book_on
FROM (
    SELECT account_id, owner, asset FROM books.statutory_account
    WHERE account_type = $2::text AND account_id > $3::text::uuid AND first_on <= $1::date
    ORDER BY account_id LIMIT $4::int
) AS s
JOIN LATERAL (
    SELECT a.closing, a.book_on FROM books.account_day AS a
    WHERE a.account_id = s.account_id AND a.book_on <= $1::date
    ORDER BY a.book_on DESC LIMIT 1
) AS d ON true
ORDER BY s.account_id;
