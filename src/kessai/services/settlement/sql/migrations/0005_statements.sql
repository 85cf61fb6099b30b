-- Statements (精算明細書 兼 適格請求書) as they were issued: kept as they are. What has become otherwise since is issued
-- again, as the next version.
-- shard: payee_id
CREATE TABLE issued_statement (
    payee_id  text        NOT NULL,
    cycle_id  uuid        NOT NULL,
    version   integer     NOT NULL CHECK (version > 0),
    contents  bytea       NOT NULL,
    sha256    text        NOT NULL,
    issued_at timestamptz NOT NULL,
    PRIMARY KEY (payee_id, cycle_id, version)
);
COMMENT ON COLUMN issued_statement.contents IS 'all that it says, as JSON: every form of it is made from this alone';
COMMENT ON COLUMN issued_statement.sha256 IS 'of the contents';
GRANT SELECT, INSERT ON issued_statement TO "{role}";
