-- A bank account stands with its row before the bank is asked for a mandate to debit it.

ALTER TABLE account ADD COLUMN state text NOT NULL DEFAULT 'ACTIVE' CHECK (state IN ('PENDING', 'ACTIVE', 'REFUSED'));

COMMENT ON COLUMN account.state IS 'PENDING: what became of its mandate is not known yet, and nobody is shown it';

CREATE INDEX account_pending ON account (account_id) WHERE state = 'PENDING';

GRANT UPDATE (state) ON account TO "{role}";
