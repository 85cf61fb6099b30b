-- Seals over what somebody wrote: their chains, and the rows that they are over.

-- name: lock_seal_head
SELECT number, seal FROM books.seal_head WHERE chain = $1 FOR UPDATE;

-- name: move_seal_head
UPDATE books.seal_head SET number = $2, seal = $3 WHERE chain = $1;

-- name: insert_seal
INSERT INTO books.seal (chain, number, records, digest, seal) VALUES ($1, $2, $3::text[], $4, $5);

-- name: sealed_journals
SELECT encode(uuid_send(journal_id), 'hex') AS record, source, event_id, kind, action, rule, rule_version, booked_on,
    event_on, occurred_at, recorded_at, exchange_id, payment_id, processing_id, merchant, product,
    encode(uuid_send(reverses), 'hex') AS reverses, description, posted_by, origin
FROM books.journal WHERE journal_id = ANY ($1::text[]::uuid[]) ORDER BY journal_id;

-- name: sealed_entries
SELECT encode(uuid_send(journal_id), 'hex') AS record, line, account, asset, amount, tax_code, account_type, owner,
    booked_on
FROM books.entry WHERE journal_id = ANY ($1::text[]::uuid[]) ORDER BY journal_id, line;

-- name: sealed_safeguards
SELECT book || '/' || reference AS record, means, subject, amount, effective_on, book_on, place, recorded_at, recorded_by
FROM books.safeguard WHERE book || '/' || reference = ANY ($1::text[]) ORDER BY book, reference;

-- name: sealed_wallet_counts
SELECT wallet || '/' || asset || '/' || to_char(counted_on, 'YYYY-MM-DD') AS record, book_on, cold, quantity, recorded_at, recorded_by
FROM books.wallet_count
WHERE wallet || '/' || asset || '/' || to_char(counted_on, 'YYYY-MM-DD') = ANY ($1::text[])
ORDER BY wallet, asset, counted_on;

-- name: sealed_asset_prices
SELECT asset || '/' || to_char(price_on, 'YYYY-MM-DD') AS record, book_on, unit_price, source, recorded_at, recorded_by
FROM books.asset_price WHERE asset || '/' || to_char(price_on, 'YYYY-MM-DD') = ANY ($1::text[])
ORDER BY asset, price_on;
