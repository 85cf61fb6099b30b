-- Runs of dated jobs: one row a business date and attempt, each a workflow of the same schema.
-- shard: name
CREATE TABLE job_run (
    name          text        NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    business_date date        NOT NULL,
    attempt       int         NOT NULL CHECK (attempt > 0),
    workflow_id   text        NOT NULL,
    dry_run       boolean     NOT NULL,
    state         text        NOT NULL CHECK (state IN ('RUNNING', 'DONE', 'FAILED')),
    done          bigint      NOT NULL CHECK (done >= 0),
    total         bigint      NULL CHECK (total >= 0),
    note          text        NOT NULL,
    started_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    ended_at      timestamptz NULL,
    PRIMARY KEY (name, business_date, attempt),
    CHECK ((state = 'RUNNING') = (ended_at IS NULL))
) WITH (fillfactor = 70);
COMMENT ON COLUMN job_run.done IS 'in the job''s own unit; of total, where the job knows that beforehand';
COMMENT ON COLUMN job_run.note IS 'one sentence for the operator: what it is at, what it came to, or why it failed';
COMMENT ON COLUMN job_run.started_at IS 'in business time, as all times of this table';
CREATE INDEX job_run_open ON job_run (name, business_date, attempt) WHERE state = 'RUNNING';

-- The next day on which each job falls due by itself.
-- shard: name
CREATE TABLE job_due (
    name    text PRIMARY KEY,
    next_on date NOT NULL
) WITH (fillfactor = 50);

GRANT SELECT, INSERT, UPDATE (state, done, total, note, updated_at, ended_at) ON job_run TO "{role}";
GRANT SELECT, INSERT, UPDATE (next_on) ON job_due TO "{role}";
