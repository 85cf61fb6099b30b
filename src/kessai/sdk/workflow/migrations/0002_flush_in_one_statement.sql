-- A flush is one statement: its token tells how many rows each guard had to match and how many it did, so that a flush
-- whose guards do not hold cannot be written. A void token says that the flush of this number never came to be.
ALTER TABLE workflow_flush
    ADD COLUMN expected int[] NOT NULL DEFAULT '{}',
    ADD COLUMN verified int[] NOT NULL DEFAULT '{}',
    ADD COLUMN void boolean NOT NULL DEFAULT false,
    ADD CONSTRAINT workflow_flush_verified CHECK (verified = expected);

-- Ids started a short while ago. A flush looks at finished ids in the snapshot it began with; one that was started and
-- finished since then meets this key. Swept once no flush can be under way that began before it.
-- shard: workflow_id
CREATE TABLE workflow_claim (
    workflow_id text COLLATE "C" PRIMARY KEY,
    claimed_at timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 20000);

GRANT SELECT, INSERT, UPDATE (claimed_at), DELETE ON workflow_claim TO "{role}";
