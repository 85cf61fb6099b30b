-- name: write_statement_lines
-- The feed's row is locked for the batch: a day that is being cut waits for it, and it for the cut.
WITH feed AS (
    UPDATE books.statutory_feed SET
        seen_at = greatest(seen_at, $1::timestamptz),
        first_on = least(first_on, greatest($2::date, cut_on + 1))
    WHERE feed = 'ledger'
    RETURNING cut_on
)
INSERT INTO books.statement_line (account_id, sequence, part, account_type, owner, asset, amount, balance, category,
    kind, action, counterparty, exchange_id, payment_id, processing_id, event_on, occurred_at, action_id, book_on)
SELECT u.account_id, u.sequence, u.part, u.account_type, u.owner, u.asset, u.amount, u.balance, u.category,
    u.kind, u.action, u.counterparty, u.exchange_id, u.payment_id, u.processing_id, u.event_on, u.occurred_at,
    u.action_id, greatest(u.event_on, feed.cut_on + 1)
FROM feed, unnest($3::uuid[], $4::bigint[], $5::int[], $6::text[], $7::text[], $8::text[], $9::bigint[],
    $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
    $18::date[], $19::timestamptz[], $20::text[])
    AS u (account_id, sequence, part, account_type, owner, asset, amount, balance, category, kind, action,
        counterparty, exchange_id, payment_id, processing_id, event_on, occurred_at, action_id)
ON CONFLICT (account_id, sequence, part) DO NOTHING;

-- name: write_crypto_trades
INSERT INTO books.crypto_trade (exchange_id, owner, capacity, side, asset, quantity, price_asset, unit_price, amount,
    fee, counterparty, order_kind, limit_price, ordered, ordered_at, executed_at, reverses, event_on, action_id, book_on)
SELECT u.exchange_id, u.owner, u.capacity, u.side, u.asset, u.quantity, u.price_asset, u.unit_price, u.amount,
    u.fee, u.counterparty, u.order_kind, u.limit_price, u.ordered, u.ordered_at, u.executed_at, u.reverses, u.event_on,
    u.action_id, greatest(u.event_on, f.cut_on + 1)
FROM books.statutory_feed AS f, unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
    $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::bigint[],
    $15::timestamptz[], $16::timestamptz[], $17::text[], $18::date[], $19::text[])
    AS u (exchange_id, owner, capacity, side, asset, quantity, price_asset, unit_price, amount, fee, counterparty,
        order_kind, limit_price, ordered, ordered_at, executed_at, reverses, event_on, action_id)
WHERE f.feed = 'ledger'
ON CONFLICT (exchange_id, owner, action_id) DO NOTHING;

-- name: insert_orders
INSERT INTO books.crypto_order (exchange_id, ordered)
SELECT u.exchange_id, u.ordered FROM unnest($1::text[], $2::text[]) AS u (exchange_id, ordered)
ON CONFLICT (exchange_id) DO NOTHING;

-- name: load_orders
SELECT exchange_id, ordered FROM books.crypto_order WHERE exchange_id = ANY($1::text[]);

-- name: read_statutory_feed
SELECT seen_at, first_on, cut_on FROM books.statutory_feed WHERE feed = 'ledger';

-- name: cut_statutory_day
UPDATE books.statutory_feed SET cut_on = $1::date
WHERE feed = 'ledger' AND coalesce(cut_on, '-infinity') < $1::date
RETURNING cut_on;

-- name: make_account_days
-- Everything that moved in a day, a row an account, chained on the account's day before.
-- What a caller may have written, a payment's name, comes last and with its length: no two days are told alike.
INSERT INTO books.account_day
    (account_id, book_on, account_type, opening, credits, debits, closing, told, told_at, lines, lines_digest)
SELECT d.account_id, $1::date, d.account_type, d.opening, d.credits, d.debits, d.opening + d.credits - d.debits,
    d.told, d.told_at, d.lines, d.lines_digest
FROM (
    SELECT m.account_id, m.account_type, m.credits, m.debits, m.lines, m.lines_digest, coalesce(p.closing, 0) AS opening,
        CASE WHEN m.told_at > coalesce(p.told_at, 0) THEN m.told ELSE p.told END AS told,
        greatest(m.told_at, p.told_at) AS told_at
    FROM (
        SELECT account_type, account_id,
            coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::bigint AS credits,
            coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::bigint AS debits,
            (array_agg(balance ORDER BY sequence, part))[count(*)] AS told,
            max(sequence) AS told_at,
            count(*)::int AS lines,
            sha256(convert_to(string_agg(concat_ws(E'\x1f', sequence, part, owner, asset, amount, balance, category,
                kind, action, counterparty, exchange_id || coalesce('/' || action_id, ''), coalesce(processing_id, ''),
                book_on - event_on,
                extract(epoch FROM occurred_at), length(coalesce(payment_id, '')), payment_id), ''
                ORDER BY sequence, part), 'UTF8')) AS lines_digest
        FROM books.statement_line
        WHERE book_on = $1::date
        GROUP BY account_type, account_id
    ) AS m
    LEFT JOIN LATERAL (
        SELECT a.closing, a.told, a.told_at FROM books.account_day AS a
        WHERE a.account_id = m.account_id AND a.book_on < $1::date
        ORDER BY a.book_on DESC LIMIT 1
    ) AS p ON true
) AS d
ORDER BY d.account_type, d.account_id;

-- name: account_days_again
-- The same from the lines, written nowhere: digests by the first byte of the accounts' ids.
SELECT d.bucket, encode(sha256(string_agg(d.written, E'\n' ORDER BY d.account_id)::bytea), 'hex') AS digest
FROM (
    SELECT substr(m.account_id::text, 1, 2) AS bucket, m.account_id,
        concat_ws(' ', m.account_id, m.account_type, coalesce(p.closing, 0), m.credits, m.debits,
            coalesce(p.closing, 0) + m.credits - m.debits,
            CASE WHEN m.told_at > coalesce(p.told_at, 0) THEN m.told ELSE p.told END,
            greatest(m.told_at, p.told_at), m.lines, encode(m.lines_digest, 'hex')) AS written
    FROM (
        SELECT account_type, account_id,
            coalesce(sum(amount) FILTER (WHERE amount > 0), 0)::bigint AS credits,
            coalesce(-sum(amount) FILTER (WHERE amount < 0), 0)::bigint AS debits,
            (array_agg(balance ORDER BY sequence, part))[count(*)] AS told,
            max(sequence) AS told_at,
            count(*)::int AS lines,
            sha256(convert_to(string_agg(concat_ws(E'\x1f', sequence, part, owner, asset, amount, balance, category,
                kind, action, counterparty, exchange_id || coalesce('/' || action_id, ''), coalesce(processing_id, ''),
                book_on - event_on,
                extract(epoch FROM occurred_at), length(coalesce(payment_id, '')), payment_id), ''
                ORDER BY sequence, part), 'UTF8')) AS lines_digest
        FROM books.statement_line
        WHERE book_on = $1::date
        GROUP BY account_type, account_id
    ) AS m
    LEFT JOIN LATERAL (
        SELECT a.closing, a.told, a.told_at FROM books.account_day AS a
        WHERE a.account_id = m.account_id AND a.book_on < $1::date
        ORDER BY a.book_on DESC LIMIT 1
    ) AS p ON true
) AS d
GROUP BY d.bucket
ORDER BY d.bucket;

-- name: account_days_digests
SELECT d.bucket, encode(sha256(string_agg(d.written, E'\n' ORDER BY d.account_id)::bytea), 'hex') AS digest
FROM (
    SELECT substr(account_id::text, 1, 2) AS bucket, account_id,
        concat_ws(' ', account_id, account_type, opening, credits, debits, closing, told, told_at, lines,
            encode(lines_digest, 'hex')) AS written
    FROM books.account_day
    WHERE book_on = $1::date
) AS d
GROUP BY d.bucket
ORDER BY d.bucket;

-- name: add_statutory_accounts
-- Those that moved for the first time; whose they are stands in any of their lines.
INSERT INTO books.statutory_account (account_type, account_id, owner, asset, first_on)
SELECT d.account_type, d.account_id, l.owner, l.asset, $1::date
FROM books.account_day AS d
CROSS JOIN LATERAL (
    SELECT owner, asset FROM books.statement_line WHERE account_id = d.account_id LIMIT 1
) AS l
WHERE d.book_on = $1::date
    AND NOT EXISTS (SELECT FROM books.statutory_account AS s
        WHERE s.account_type = d.account_type AND s.account_id = d.account_id)
ORDER BY d.account_type, d.account_id;

-- name: book_days_of
-- A row a type: the day before rolled forward by what moved. Written by make_book_days, compared when a day is made again.
SELECT t.account_type, t.asset,
    coalesce(p.closing, 0) AS opening,
    coalesce(p.closing, 0) + coalesce(m.change, 0) AS closing,
    coalesce(p.told, 0) + coalesce(m.told_change, 0) AS told,
    coalesce(p.accounts, 0) + coalesce(m.opened, 0) AS accounts,
    coalesce(m.moved, 0) AS moved,
    coalesce(m.differing, 0) AS differing
FROM unnest($3::text[], $4::text[]) AS t (account_type, asset)
LEFT JOIN books.book_day AS p ON p.book_on = $2::date AND p.account_type = t.account_type
LEFT JOIN (
    SELECT d.account_type, sum(d.credits::numeric - d.debits) AS change,
        sum(d.told::numeric - coalesce(b.told, 0)) AS told_change,
        count(*) FILTER (WHERE b.told IS NULL) AS opened,
        count(*) AS moved, count(*) FILTER (WHERE d.closing <> d.told) AS differing
    FROM books.account_day AS d
    LEFT JOIN LATERAL (
        SELECT a.told FROM books.account_day AS a
        WHERE a.account_id = d.account_id AND a.book_on < $1::date
        ORDER BY a.book_on DESC LIMIT 1
    ) AS b ON true
    WHERE d.book_on = $1::date
    GROUP BY d.account_type
) AS m ON m.account_type = t.account_type
ORDER BY t.account_type;

-- name: write_book_days
INSERT INTO books.book_day (book_on, account_type, asset, opening, closing, told, accounts, moved, differing)
SELECT $1::date, u.account_type, u.asset, u.opening, u.closing, u.told, u.accounts, u.moved, u.differing
FROM unnest($2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::numeric[], $7::bigint[], $8::bigint[],
    $9::bigint[]) AS u (account_type, asset, opening, closing, told, accounts, moved, differing);

-- name: categories_of
SELECT account_type, category, sum(amount) AS amount, count(*) AS lines,
    count(*) FILTER (WHERE event_on < book_on) AS late_lines
FROM books.statement_line
WHERE book_on = $1::date
GROUP BY account_type, category
ORDER BY account_type, category;

-- name: write_categories
INSERT INTO books.book_day_category (book_on, account_type, category, amount, lines, late_lines)
SELECT $1::date, u.account_type, u.category, u.amount, u.lines, u.late_lines
FROM unnest($2::text[], $3::text[], $4::numeric[], $5::bigint[], $6::bigint[])
    AS u (account_type, category, amount, lines, late_lines);

-- name: book_days_written
SELECT account_type, asset, opening, closing, told, accounts, moved, differing
FROM books.book_day WHERE book_on = $1::date ORDER BY account_type;

-- name: categories_written
SELECT account_type, category, amount, lines, late_lines
FROM books.book_day_category WHERE book_on = $1::date ORDER BY account_type, category;

-- name: over_cap_of
-- Those above the cap the day before that did not move, and those that moved and are above it now; where the cap is
-- lower than the day before ($5, $6), those too that did not move and were not above it then.
SELECT o.account_id, o.account_type, o.owner, o.balance, c.cap, o.since
FROM unnest($3::text[], $4::bigint[]) AS c (account_type, cap)
JOIN books.over_cap_day AS o ON o.book_on = $2::date AND o.account_type = c.account_type AND o.balance > c.cap
WHERE NOT EXISTS (SELECT FROM books.account_day AS d WHERE d.account_id = o.account_id AND d.book_on = $1::date)
UNION ALL
SELECT d.account_id, d.account_type, s.owner, d.closing, c.cap, coalesce(o.since, $1::date)
FROM unnest($3::text[], $4::bigint[]) AS c (account_type, cap)
JOIN books.account_day AS d ON d.book_on = $1::date AND d.account_type = c.account_type AND d.closing > c.cap
JOIN books.statutory_account AS s ON s.account_type = d.account_type AND s.account_id = d.account_id
LEFT JOIN books.over_cap_day AS o ON o.book_on = $2::date AND o.account_id = d.account_id
UNION ALL
SELECT s.account_id, s.account_type, s.owner, d.closing, c.cap, $1::date
FROM unnest($5::text[], $6::bigint[]) AS c (account_type, cap)
JOIN books.statutory_account AS s ON s.account_type = c.account_type AND s.first_on < $1::date
CROSS JOIN LATERAL (
    SELECT a.closing, a.book_on FROM books.account_day AS a
    WHERE a.account_id = s.account_id AND a.book_on <= $1::date
    ORDER BY a.book_on DESC LIMIT 1
) AS d
WHERE d.book_on < $1::date AND d.closing > c.cap
    AND NOT EXISTS (SELECT FROM books.over_cap_day AS o WHERE o.book_on = $2::date AND o.account_id = s.account_id)
ORDER BY account_id;

-- name: write_over_cap
INSERT INTO books.over_cap_day (book_on, account_id, account_type, owner, balance, cap, since)
SELECT $1::date, u.account_id, u.account_type, u.owner, u.balance, u.cap, u.since
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::date[])
    AS u (account_id, account_type, owner, balance, cap, since);

-- name: write_security
INSERT INTO books.security_day (book_on, transfer_type, business_day, obligation, procedure_cost, required)
SELECT $1::date, u.transfer_type, u.business_day, u.obligation, u.procedure_cost, u.required
FROM unnest($2::int[], $3::boolean[], $4::numeric[], $5::numeric[], $6::numeric[])
    AS u (transfer_type, business_day, obligation, procedure_cost, required);

-- name: over_cap_written
SELECT account_id, account_type, owner, balance, cap, since
FROM books.over_cap_day WHERE book_on = $1::date ORDER BY account_id;

-- name: security_written
SELECT transfer_type, business_day, obligation, procedure_cost, required
FROM books.security_day WHERE book_on = $1::date ORDER BY transfer_type;

-- name: day_parts
-- What else stands in a day's books ($1 to $2: the first day has what stands before it, too): number and digest of
-- each kind of rows, in an order that no language decides.
SELECT 'trades' AS part, count(*) AS rows, encode(sha256(coalesce(string_agg(sha256(convert_to(ROW(exchange_id
        || CASE WHEN action_id = '' THEN '' ELSE '/' || action_id END, owner, capacity, side, asset, quantity, price_asset, unit_price, amount, fee, counterparty, order_kind, limit_price,
        ordered, extract(epoch FROM ordered_at), extract(epoch FROM executed_at), reverses, book_on - event_on)::text,
        'UTF8')), ''::bytea ORDER BY exchange_id COLLATE "C", owner COLLATE "C", action_id COLLATE "C"),
        ''::bytea)), 'hex') AS digest
FROM books.crypto_trade WHERE book_on >= $1::date AND book_on <= $2::date
UNION ALL
SELECT 'accounts', count(*), encode(sha256(coalesce(string_agg(sha256(convert_to(ROW(account_type, account_id, owner,
        asset)::text, 'UTF8')), ''::bytea ORDER BY account_type COLLATE "C", account_id), ''::bytea)), 'hex')
FROM books.statutory_account WHERE first_on >= $1::date AND first_on <= $2::date
UNION ALL
SELECT 'safeguards', count(*), encode(sha256(coalesce(string_agg(sha256(convert_to(ROW(book, reference, means, subject,
        amount, $2::date - effective_on, place, extract(epoch FROM recorded_at), recorded_by)::text, 'UTF8')),
        ''::bytea ORDER BY book COLLATE "C", reference COLLATE "C"), ''::bytea)), 'hex')
FROM books.safeguard WHERE book_on >= $1::date AND book_on <= $2::date
UNION ALL
SELECT 'wallets', count(*), encode(sha256(coalesce(string_agg(sha256(convert_to(ROW(wallet, asset, $2::date - counted_on,
        cold, quantity, extract(epoch FROM recorded_at), recorded_by)::text, 'UTF8')), ''::bytea
        ORDER BY wallet COLLATE "C", asset COLLATE "C", counted_on), ''::bytea)), 'hex')
FROM books.wallet_count WHERE book_on >= $1::date AND book_on <= $2::date
UNION ALL
SELECT 'prices', count(*), encode(sha256(coalesce(string_agg(sha256(convert_to(ROW(asset, $2::date - price_on,
        unit_price, source, extract(epoch FROM recorded_at), recorded_by)::text, 'UTF8')), ''::bytea
        ORDER BY asset COLLATE "C", price_on), ''::bytea)), 'hex')
FROM books.asset_price WHERE book_on >= $1::date AND book_on <= $2::date
ORDER BY part;

-- name: rows_of_no_day
-- Rows that stand before the first day ($1) that was made, or that only a day has and stand after the last one ($2).
SELECT relation, min(book_on) AS book_on, count(*) AS rows
FROM (
    SELECT 'statement_line' AS relation, book_on FROM books.statement_line WHERE book_on < $1::date
    UNION ALL
    SELECT 'account_day', book_on FROM books.account_day WHERE book_on < $1::date OR book_on > $2::date
    UNION ALL
    SELECT 'statutory_account', first_on FROM books.statutory_account
    WHERE first_on < $1::date OR first_on > $2::date
    UNION ALL
    SELECT 'book_day', book_on FROM books.book_day WHERE book_on < $1::date OR book_on > $2::date
    UNION ALL
    SELECT 'book_day_category', book_on FROM books.book_day_category WHERE book_on < $1::date OR book_on > $2::date
    UNION ALL
    SELECT 'security_day', book_on FROM books.security_day WHERE book_on < $1::date OR book_on > $2::date
    UNION ALL
    SELECT 'over_cap_day', book_on FROM books.over_cap_day WHERE book_on < $1::date OR book_on > $2::date
) AS strays
GROUP BY relation
ORDER BY relation;

-- name: hold_open_day
-- No day is cut until the caller's transaction ends.
SELECT cut_on FROM books.statutory_feed WHERE feed = 'ledger' FOR UPDATE;

-- name: take_statutory_turn
SELECT turn FROM books.statutory_turn WHERE turn = $1::text FOR UPDATE;

-- name: write_statutory_day
INSERT INTO books.statutory_day
    (book_on, previous_digest, digest, lines, late_lines, accounts, rules, made_at, made_by)
VALUES ($1::date, $2::text, $3::text, $4::bigint, $5::bigint, $6::bigint, $7::text, $8::timestamptz, $9::text)
ON CONFLICT (book_on) DO NOTHING
RETURNING book_on;

-- name: statutory_days
SELECT book_on, previous_digest, digest, lines, late_lines, accounts, rules, made_at, made_by
FROM books.statutory_day WHERE book_on >= $1::date AND book_on <= $2::date ORDER BY book_on;

-- name: first_statutory_day
SELECT book_on FROM books.statutory_day ORDER BY book_on LIMIT 1;

-- name: last_statutory_day
SELECT book_on, digest, rules FROM books.statutory_day ORDER BY book_on DESC LIMIT 1;
