-- Workflows under way: a small table. Needs the component kessai.foundation.events (leases, outbox).
-- shard: workflow_id
CREATE TABLE workflow_open (
    workflow_id text COLLATE "C" PRIMARY KEY CHECK (length(workflow_id) BETWEEN 1 AND 128),
    name text NOT NULL,
    version int NOT NULL,
    digest bytea NOT NULL,
    request bytea NOT NULL,
    call bytea NOT NULL,
    executor_id text NOT NULL,
    compensating boolean NOT NULL,
    writes int NOT NULL CHECK (writes >= 0),
    started_at timestamptz NOT NULL,
    deadline_at timestamptz NULL,
    parked_error text NULL
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.0, autovacuum_vacuum_threshold = 5000);

-- What happened, step by step: kind 0 is the intent of a compensable activity, 1 an outcome, 2 a compensation done.
-- The last steps of a finished workflow are in workflow_done.
-- shard: workflow_id
CREATE TABLE workflow_log (
    workflow_id text COLLATE "C" NOT NULL,
    seq int NOT NULL CHECK (seq > 0),
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 2),
    name text NOT NULL,
    argument_hash bytea NOT NULL,
    failed boolean NOT NULL,
    outcome bytea NOT NULL,
    writes int NOT NULL CHECK (writes >= 0),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, seq, kind)
);

-- Finished workflows: their ids stay idempotency keys, with the digest of the content and the outcome to replay.
-- shard: workflow_id
CREATE TABLE workflow_done (
    workflow_id text COLLATE "C" PRIMARY KEY,
    name text NOT NULL,
    version int NOT NULL,
    digest bytea NOT NULL,
    failed boolean NOT NULL,
    outcome bytea NOT NULL,
    steps bytea NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL
);

-- One row a flush, so that a flush whose commit was cut off can be recognised; old ones are removed.
-- shard: executor_id
CREATE TABLE workflow_flush (
    executor_id text NOT NULL,
    number bigint NOT NULL,
    PRIMARY KEY (executor_id, number)
);

GRANT SELECT, INSERT, UPDATE (executor_id, compensating, writes, parked_error), DELETE ON workflow_open TO "{role}";
GRANT SELECT, INSERT ON workflow_log, workflow_done TO "{role}";
GRANT SELECT, INSERT, DELETE ON workflow_flush TO "{role}";
