-- name: export_opening
SELECT account, asset, sum(debit - credit) AS amount,
    coalesce(sum(debit - credit) FILTER (WHERE booked_on < $2::date), 0) AS earlier
FROM books.day_total
WHERE booked_on < $1::date
GROUP BY account, asset
ORDER BY account, asset;

-- name: export_movements
SELECT account, asset, (extract(year FROM booked_on) * 12 + extract(month FROM booked_on))::int AS month,
    sum(debit - credit) AS amount
FROM books.day_total
WHERE booked_on BETWEEN $1::date AND $2::date
GROUP BY account, asset, month
ORDER BY month, account, asset;

-- name: export_vouchers
SELECT j.journal_id, j.source, j.kind, j.booked_on, j.event_on, j.description, j.merchant, j.product, j.payment_id,
    j.processing_id, j.exchange_id, j.reverses, e.account, e.asset, e.amount, e.tax_code, e.account_type, e.owner
FROM books.journal AS j
JOIN books.entry AS e ON e.journal_id = j.journal_id
WHERE j.booked_on BETWEEN $1::date AND $2::date
ORDER BY j.booked_on, j.journal_id, e.line;
