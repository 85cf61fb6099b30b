-- Ids that are taken: one row for each workflow ever begun, until its id may be used anew. It outlives the history, which
-- is found through it: `started_at` is the partition that holds it.
-- shard: workflow_id
CREATE TABLE workflow_taken (
    workflow_id text COLLATE "C" PRIMARY KEY,
    digest bytea NOT NULL,
    started_at timestamptz NOT NULL
);
INSERT INTO workflow_taken (workflow_id, digest, started_at) SELECT workflow_id, digest, started_at FROM workflow_done;
INSERT INTO workflow_taken (workflow_id, digest, started_at) SELECT workflow_id, digest, started_at FROM workflow_open
ON CONFLICT (workflow_id) DO NOTHING;
DROP TABLE workflow_claim;

-- Histories, by when their workflow began: a partition a week, made ahead and dropped whole. What was there before, and
-- what begins before a week's partition is made, is in the partition for the rest.
DELETE FROM workflow_done WHERE forgotten;
ALTER TABLE workflow_done DROP COLUMN forgotten;
ALTER TABLE workflow_done DROP CONSTRAINT workflow_done_pkey;
ALTER TABLE workflow_done RENAME TO workflow_done_rest;

-- shard: workflow_id
CREATE TABLE workflow_done (
    workflow_id text COLLATE "C" NOT NULL,
    name text NOT NULL,
    version int NOT NULL,
    digest bytea NOT NULL,
    failed boolean NOT NULL,
    outcome bytea NOT NULL,
    steps bytea NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, started_at)
) PARTITION BY RANGE (started_at);
ALTER TABLE workflow_done ATTACH PARTITION workflow_done_rest DEFAULT;

ALTER TABLE workflow_log ADD COLUMN started_at timestamptz;
UPDATE workflow_log SET started_at = t.started_at FROM workflow_taken AS t WHERE t.workflow_id = workflow_log.workflow_id;
DELETE FROM workflow_log WHERE started_at IS NULL;
ALTER TABLE workflow_log ALTER COLUMN started_at SET NOT NULL, DROP CONSTRAINT workflow_log_pkey;
ALTER TABLE workflow_log RENAME TO workflow_log_rest;

-- shard: workflow_id
CREATE TABLE workflow_log (
    workflow_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL CONSTRAINT workflow_log_seq_check CHECK (seq > 0),
    kind smallint NOT NULL CONSTRAINT workflow_log_kind_check CHECK (kind BETWEEN 0 AND 2),
    name text NOT NULL,
    argument_hash bytea NOT NULL,
    failed boolean NOT NULL,
    outcome bytea NOT NULL,
    writes int NOT NULL CONSTRAINT workflow_log_writes_check CHECK (writes >= 0),
    recorded_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, seq, kind, started_at)
) PARTITION BY RANGE (started_at);
ALTER TABLE workflow_log ATTACH PARTITION workflow_log_rest DEFAULT;

GRANT SELECT, INSERT ON workflow_taken, workflow_done, workflow_log TO "{role}";
