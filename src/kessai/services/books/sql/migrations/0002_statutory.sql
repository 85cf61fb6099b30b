-- Statutory books (法定帳簿): what happened on customers' accounts, as the law asks for it. Append-only by grant.

-- How far the ledger's feed has been told of, and the last day that was cut: what is told later goes to the day after.
-- shard: feed
CREATE TABLE statutory_feed (
    feed     text PRIMARY KEY,
    seen_at  timestamptz NOT NULL,
    first_on date,
    cut_on   date
) WITH (fillfactor = 50);
COMMENT ON COLUMN statutory_feed.seen_at IS 'of the latest event that was handled, as the ledger recorded it';
COMMENT ON COLUMN statutory_feed.first_on IS 'the first day that the feed has told of: the books begin with it';
COMMENT ON COLUMN statutory_feed.cut_on IS 'the last day that takes no further lines';
INSERT INTO statutory_feed (feed, seen_at) VALUES ('ledger', '2020-01-01T00:00:00Z');

-- 顧客勘定元帳: one posting, or a part of it, on an account whose type stands in a statutory book. It is written for
-- every such posting, whether the event is booked in the accounting books or still stands unposted.
-- shard: account_id
CREATE TABLE statement_line (
    account_id    uuid NOT NULL,
    sequence      bigint NOT NULL,
    part          int NOT NULL CHECK (part > 0),
    account_type  text NOT NULL,
    owner         text NOT NULL,
    asset         text NOT NULL,
    amount        bigint NOT NULL CHECK (amount <> 0),
    balance       bigint NOT NULL,
    category      text NOT NULL,
    kind          text NOT NULL,
    action        text NOT NULL,
    counterparty  text NOT NULL,
    exchange_id   text NOT NULL,
    payment_id    text,
    processing_id text,
    event_on      date NOT NULL,
    book_on       date NOT NULL CHECK (book_on >= event_on),
    occurred_at   timestamptz NOT NULL,
    PRIMARY KEY (account_id, sequence, part)
);
CREATE INDEX statement_by_day ON statement_line (book_on, account_type, account_id, sequence, part);
COMMENT ON COLUMN statement_line.sequence IS 'of the posting within its ledger account';
COMMENT ON COLUMN statement_line.part IS 'a fee stands apart from what it was paid for';
COMMENT ON COLUMN statement_line.balance IS 'of the account after this line, from what the ledger told with the posting';
COMMENT ON COLUMN statement_line.category IS 'what the line is in the roll-forward of its book';
COMMENT ON COLUMN statement_line.book_on IS 'the day whose book it stands in: its own, or the first one still open';

-- 取引日記帳, 注文伝票: one trade of a crypto-asset.
-- shard: exchange_id
CREATE TABLE crypto_trade (
    exchange_id  text NOT NULL,
    owner        text NOT NULL,
    capacity     text NOT NULL CHECK (capacity IN ('OWN', 'AGENCY')),
    side         text NOT NULL CHECK (side IN ('BUY', 'SELL', 'SWAP')),
    asset        text NOT NULL,
    quantity     bigint NOT NULL CHECK (quantity > 0),
    price_asset  text NOT NULL,
    unit_price   text NOT NULL,
    amount       bigint NOT NULL CHECK (amount > 0),
    fee          bigint NOT NULL,
    counterparty text NOT NULL,
    order_kind   text NOT NULL,
    limit_price  text,
    ordered      bigint NOT NULL CHECK (ordered > 0),
    ordered_at   timestamptz NOT NULL,
    executed_at  timestamptz NOT NULL,
    reverses     text,
    event_on     date NOT NULL,
    book_on      date NOT NULL CHECK (book_on >= event_on),
    PRIMARY KEY (exchange_id, owner)
);
CREATE INDEX crypto_trade_by_day ON crypto_trade (book_on, executed_at, exchange_id, owner);
COMMENT ON COLUMN crypto_trade.unit_price IS 'of one whole unit of the asset, in whole units of the price asset';
COMMENT ON COLUMN crypto_trade.ordered IS 'the quantity that was ordered';
COMMENT ON COLUMN crypto_trade.reverses IS 'the trade that this one undoes';

GRANT SELECT, INSERT ON statement_line, crypto_trade TO "{role}";
GRANT SELECT ON statutory_feed TO "{role}";
GRANT UPDATE (seen_at, first_on, cut_on) ON statutory_feed TO "{role}";
