-- What held exchanges may still bring to an account: a retention cap (滞留上限) counts it. Log-only accounts have none.
ALTER TABLE ledger.account ADD COLUMN incoming bigint NOT NULL DEFAULT 0;

UPDATE ledger.account AS a SET incoming = h.amount
FROM (
    SELECT t.account_id, sum(t.amount)::bigint AS amount
    FROM (
        SELECT substr(g.leg ->> 0, 5)::uuid AS account_id, (g.leg ->> 2)::bigint - (g.leg ->> 4)::bigint AS amount
        FROM ledger.exchange_state AS s
        CROSS JOIN LATERAL jsonb_array_elements(convert_from(s.progress, 'UTF8')::jsonb -> 1) AS g (leg)
        WHERE s.is_held AND (g.leg ->> 2)::bigint > 0
    ) AS t
    WHERE NOT EXISTS (SELECT 1 FROM ledger.hot_log AS w WHERE w.account_id = t.account_id)
    GROUP BY t.account_id
) AS h
WHERE a.account_id = h.account_id;

GRANT UPDATE (incoming) ON ledger.account TO {role};
