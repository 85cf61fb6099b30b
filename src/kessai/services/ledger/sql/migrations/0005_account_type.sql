-- The shape under which accounts of each type were opened: a configuration that changes it would misread them.
-- shard: account_type
CREATE TABLE account_type (
    account_type text PRIMARY KEY,
    asset text NOT NULL,
    owner_kind text NOT NULL,
    log_only boolean NOT NULL,
    has_lots boolean NOT NULL,
    expires boolean NOT NULL
);
GRANT SELECT, INSERT, UPDATE, DELETE ON account_type TO {role};
