-- Statutory days: what the books say at the end of each. Derived from the lines, kept, and never written twice.

-- Each account that a statutory book tells of.
-- shard: account_id
CREATE TABLE statutory_account (
    account_type text NOT NULL,
    account_id   uuid NOT NULL,
    owner        text NOT NULL,
    asset        text NOT NULL,
    first_on     date NOT NULL,
    PRIMARY KEY (account_type, account_id)
);
CREATE INDEX statutory_account_by_day ON statutory_account (first_on, account_type, account_id);

-- An account's day: what moved, and where it stands at its end. A day on which nothing moved has no row.
-- shard: account_id
CREATE TABLE account_day (
    account_id   uuid NOT NULL,
    book_on      date NOT NULL,
    account_type text NOT NULL,
    opening      bigint NOT NULL,
    credits      bigint NOT NULL CHECK (credits >= 0),
    debits       bigint NOT NULL CHECK (debits >= 0),
    closing      bigint NOT NULL,
    told         bigint NOT NULL,
    told_at      bigint NOT NULL,
    lines        int NOT NULL CHECK (lines > 0),
    lines_digest bytea NOT NULL,
    PRIMARY KEY (account_id, book_on),
    CHECK (opening + credits - debits = closing)
);
CREATE INDEX account_day_by_day ON account_day (book_on, account_type, account_id);
COMMENT ON COLUMN account_day.told IS 'the balance that the ledger told with its latest posting; otherwise than closing, one is missing';
COMMENT ON COLUMN account_day.told_at IS 'the sequence of that posting: a late line may tell of an earlier one';
COMMENT ON COLUMN account_day.lines_digest IS 'over every field of the day''s lines, in their order';

-- A book's day: per account type, rolled forward.
-- shard: book_on
CREATE TABLE book_day (
    book_on      date NOT NULL,
    account_type text NOT NULL,
    asset        text NOT NULL,
    opening      numeric(38) NOT NULL,
    closing      numeric(38) NOT NULL,
    told         numeric(38) NOT NULL,
    accounts     bigint NOT NULL,
    moved        bigint NOT NULL,
    differing    bigint NOT NULL,
    PRIMARY KEY (book_on, account_type)
);
COMMENT ON COLUMN book_day.told IS 'the sum of all customers'' balances as the ledger told them';
COMMENT ON COLUMN book_day.differing IS 'accounts that moved and whose closing is not what the ledger told';

-- shard: book_on
CREATE TABLE book_day_category (
    book_on      date NOT NULL,
    account_type text NOT NULL,
    category     text NOT NULL,
    amount       numeric(38) NOT NULL,
    lines        bigint NOT NULL,
    late_lines   bigint NOT NULL,
    PRIMARY KEY (book_on, account_type, category)
);
COMMENT ON COLUMN book_day_category.late_lines IS 'lines of earlier days that were told of after those were cut';

-- 要履行保証額 of a day, per type of funds transfer; what counts for deposits is that of business days.
-- shard: book_on
CREATE TABLE security_day (
    book_on        date NOT NULL,
    transfer_type  int NOT NULL,
    business_day   boolean NOT NULL,
    obligation     numeric(38) NOT NULL,
    procedure_cost numeric(38) NOT NULL,
    required       numeric(38) NOT NULL,
    PRIMARY KEY (book_on, transfer_type)
);
COMMENT ON COLUMN security_day.obligation IS '未達債務';

-- Customers above the retention cap (滞留) at the end of a day.
-- shard: account_id
CREATE TABLE over_cap_day (
    book_on      date NOT NULL,
    account_id   uuid NOT NULL,
    account_type text NOT NULL,
    owner        text NOT NULL,
    balance      bigint NOT NULL,
    cap          bigint NOT NULL,
    since        date NOT NULL,
    PRIMARY KEY (book_on, account_id)
);

-- A day that was made: its digest is over everything above, the day's trades, the records that stand in it, the law's
-- figures it was made with, and the day before, so that no day can be rewritten.
-- shard: book_on
CREATE TABLE statutory_day (
    book_on         date PRIMARY KEY,
    previous_digest text NOT NULL,
    digest          text NOT NULL,
    lines           bigint NOT NULL,
    late_lines      bigint NOT NULL,
    accounts        bigint NOT NULL,
    rules           text NOT NULL,
    made_at         timestamptz NOT NULL,
    made_by         text NOT NULL
);
COMMENT ON COLUMN statutory_day.rules IS 'caps, rates and the floor in force when the day was made, as JSON';

-- What people record stands, as lines do, in the book of its own day, or of the first one that was not cut yet when it
-- was recorded (`book_on`): a report of a day that was made counts what stood in the books then, and never changes.

-- 履行保証金の供託・保全契約・信託, 発行保証金: what secures customers' money; a release is negative.
-- shard: book
CREATE TABLE safeguard (
    book         text NOT NULL CHECK (book IN ('funds_transfer', 'prepaid')),
    reference    text NOT NULL,
    means        text NOT NULL CHECK (means IN ('DEPOSIT', 'GUARANTEE', 'TRUST')),
    subject      text NOT NULL,
    amount       bigint NOT NULL CHECK (amount <> 0),
    effective_on date NOT NULL,
    book_on      date NOT NULL CHECK (book_on >= effective_on),
    place        text NOT NULL,
    recorded_at  timestamptz NOT NULL,
    recorded_by  text NOT NULL,
    PRIMARY KEY (book, reference)
);
COMMENT ON COLUMN safeguard.subject IS 'the type of funds transfer (1, 2, 3), or own for prepaid instruments';

-- What stood in each wallet when it was counted; the latest count of a wallet up to a day is that day's.
-- shard: wallet
CREATE TABLE wallet_count (
    wallet      text NOT NULL,
    asset       text NOT NULL,
    counted_on  date NOT NULL,
    book_on     date NOT NULL CHECK (book_on >= counted_on),
    cold        boolean NOT NULL,
    quantity    bigint NOT NULL CHECK (quantity >= 0),
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    PRIMARY KEY (wallet, asset, counted_on)
);

-- The price of one whole unit in yen that values a day's crypto-assets.
-- shard: asset
CREATE TABLE asset_price (
    asset       text NOT NULL,
    price_on    date NOT NULL,
    book_on     date NOT NULL CHECK (book_on >= price_on),
    unit_price  text NOT NULL,
    source      text NOT NULL,
    recorded_at timestamptz NOT NULL,
    recorded_by text NOT NULL,
    PRIMARY KEY (asset, price_on)
);

-- One day is made at a time, one safeguard recorded: each is its row's lock.
-- shard: turn
CREATE TABLE statutory_turn (
    turn text PRIMARY KEY
);
INSERT INTO statutory_turn (turn) VALUES ('day'), ('safeguard');
GRANT SELECT, UPDATE ON statutory_turn TO "{role}";

GRANT SELECT, INSERT ON statutory_account, account_day, book_day, book_day_category, over_cap_day, security_day,
    statutory_day, safeguard, wallet_count, asset_price TO "{role}";
