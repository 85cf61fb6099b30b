-- An order of a crypto-asset may be executed in parts: a trade a capture, told apart by the capture's own id, as its lines
-- are. Trades that were made at once have none, as before.
ALTER TABLE books.statement_line ADD COLUMN action_id text;
COMMENT ON COLUMN books.statement_line.action_id IS 'of a capture: which of its exchange''s';

ALTER TABLE books.crypto_trade ADD COLUMN action_id text NOT NULL DEFAULT '';
ALTER TABLE books.crypto_trade DROP CONSTRAINT crypto_trade_pkey;
ALTER TABLE books.crypto_trade ADD PRIMARY KEY (exchange_id, owner, action_id);
COMMENT ON COLUMN books.crypto_trade.action_id IS 'of a capture: which of its exchange''s; else empty';

-- How an exchange of two assets was ordered, where what comes after it has to know: price, capacity, counterparty, the
-- quantity and the instant of the order. Captures and reversals do not tell them again.
-- shard: exchange_id
CREATE TABLE crypto_order (
    exchange_id text PRIMARY KEY,
    ordered     text NOT NULL
);
COMMENT ON COLUMN crypto_order.ordered IS 'rate, metadata, instant and held legs, as JSON';
GRANT SELECT, INSERT ON crypto_order TO "{role}";
