-- Transactions that are still to settle, in the order in which a day's run reads them: made with the transaction, gone
-- once it settles. As a partial index of transaction_data, this had every row that settles written into each of that
-- table's indexes anew.
-- shard: owner_id
CREATE TABLE open_transaction (
    owner_id       text NOT NULL,
    transaction_id uuid NOT NULL,
    business_date  date NOT NULL,
    PRIMARY KEY (business_date, owner_id, transaction_id)
);
COMMENT ON COLUMN open_transaction.business_date IS 'its transaction''s';
INSERT INTO open_transaction (owner_id, transaction_id, business_date)
SELECT owner_id, transaction_id, business_date FROM transaction_data WHERE settles_on IS NULL
ORDER BY business_date, owner_id, transaction_id;
GRANT SELECT, INSERT, DELETE ON open_transaction TO "{role}";

DROP INDEX transaction_open;
-- Every row is changed once, when it settles, and keeps its page and its places in the indexes if there is room for it.
ALTER TABLE transaction_data SET (fillfactor = 48);
