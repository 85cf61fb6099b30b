-- Entries of the bank's feed that could not be read: the feed goes on, and what they are about is inquired.

-- shard: instruction_id
CREATE TABLE unread_result (
    instruction_id uuid        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('transfer', 'debit')),
    position       bigint      NOT NULL,
    met_at         timestamptz NOT NULL,
    PRIMARY KEY (instruction_id, kind, position)
);

COMMENT ON TABLE unread_result IS 'a row goes once the bank has told of its instruction in words that we know';

GRANT SELECT, INSERT, DELETE ON unread_result TO "{role}";
