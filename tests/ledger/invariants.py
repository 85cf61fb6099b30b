"""What must hold in the ledger's rows at any time, asked of the database itself and not of the code under test."""

from __future__ import annotations

from kessai.foundation.db import Database

INVARIANTS = {
    "a balance is the sum of its logs": """
        SELECT a.account_id FROM ledger.account a
        LEFT JOIN (SELECT account_id, sum(amount) AS amount, sum(held_change) AS held FROM ledger.account_log
                   GROUP BY account_id) l USING (account_id)
        WHERE NOT EXISTS (SELECT 1 FROM ledger.hot_log h WHERE h.account_id = a.account_id)
          AND (a.balance, a.held) IS DISTINCT FROM (coalesce(l.amount, 0), coalesce(l.held, 0))""",
    "a balance is that of its last log": """
        SELECT a.account_id FROM ledger.account a
        JOIN LATERAL (SELECT balance, held, sequence FROM ledger.account_log l WHERE l.account_id = a.account_id
                      ORDER BY sequence DESC LIMIT 1) l ON true
        WHERE (a.balance, a.held) IS DISTINCT FROM (l.balance, l.held) OR a.version < l.sequence""",
    "each log continues the one before": """
        SELECT account_id FROM (
            SELECT account_id, balance, held, amount, held_change,
                   lag(balance, 1, 0::bigint) OVER w AS balance_before, lag(held, 1, 0::bigint) OVER w AS held_before
            FROM ledger.account_log WINDOW w AS (PARTITION BY account_id ORDER BY sequence)) l
        WHERE balance <> balance_before + amount OR held <> held_before + held_change""",
    "lots add up to their account": """
        SELECT a.account_id FROM ledger.account a
        JOIN (SELECT account_id, sum(remaining) AS remaining, sum(held) AS held FROM ledger.lot GROUP BY account_id) l
            USING (account_id)
        WHERE (a.balance, a.held) IS DISTINCT FROM (l.remaining, l.held)""",
    "an account with a balance and lots has lots for all of it": """
        SELECT a.account_id FROM ledger.account a
        WHERE a.balance > 0 AND a.account_type NOT IN ('credit')
          AND NOT EXISTS (SELECT 1 FROM ledger.lot l WHERE l.account_id = a.account_id)""",
    "a lot is what its logs make of it": """
        SELECT l.account_id FROM ledger.lot l
        LEFT JOIN (SELECT account_id, lot_sequence, sum(amount) AS amount, sum(held_change) AS held
                   FROM ledger.lot_log GROUP BY account_id, lot_sequence) g
            ON g.account_id = l.account_id AND g.lot_sequence = l.sequence
        WHERE (l.remaining, l.held) IS DISTINCT FROM (l.amount + coalesce(g.amount, 0), coalesce(g.held, 0))""",
    "what is to come is what held exchanges leave to be captured": """
        SELECT a.account_id FROM ledger.account a
        LEFT JOIN (SELECT substr(leg ->> 0, 5)::uuid AS account_id,
                          sum((leg ->> 2)::bigint - (leg ->> 4)::bigint) AS amount
                   FROM ledger.exchange_state, jsonb_array_elements(convert_from(progress, 'UTF8')::jsonb -> 1) leg
                   WHERE is_held AND (leg ->> 2)::bigint > 0 GROUP BY 1) h USING (account_id)
        WHERE a.incoming <> CASE WHEN a.account_type IN (
            'funds', 'sales', 'paid_points', 'free_points', 'credit', 'receivable', 'trading_funds', 'btc',
            'settled_sales', 'settled_claims') THEN coalesce(h.amount, 0) ELSE 0 END""",
    "no account is overdrawn": """
        SELECT l.account_id FROM ledger.account_log l JOIN ledger.account a USING (account_id)
        WHERE l.balance - l.held < 0 AND a.account_type NOT IN ('credit', 'settled_claims')""",
    "every exchange adds up to zero per asset": """
        SELECT exchange_id FROM (
            SELECT exchange_id, asset, amount FROM ledger.account_log JOIN ledger.account USING (account_id)
            UNION ALL
            SELECT exchange_id, asset, amount FROM ledger.hot_log JOIN ledger.account USING (account_id)) p
        GROUP BY exchange_id, asset HAVING sum(amount) <> 0""",
    "every log has its exchange": """
        SELECT l.account_id FROM ledger.account_log l LEFT JOIN ledger.exchange x USING (exchange_id)
        WHERE x.exchange_id IS NULL""",
    "each writer's flushes are numbered without a gap": """
        SELECT slot FROM ledger.flush GROUP BY slot, epoch HAVING max(sequence) <> count(*) OR min(sequence) <> 1""",
}
"""Each finds the rows that break it."""


async def broken(database: Database) -> list[str]:
    """The invariants that do not hold."""
    return [rule for rule, query in INVARIANTS.items() if await database.fetch(None, query)]
