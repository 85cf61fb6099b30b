-- A step's number holds its path: the step of the function itself in the lowest 24 bits, steps of parallel branches above.
ALTER TABLE workflow_log ALTER COLUMN seq TYPE bigint;

-- What was sent to a workflow: kind 0 is a signal, 1 an update, 2 cancel, 3 terminate, 4 pause, 5 resume.
-- Consumed rows stay, so that a message sent again under its id is taken once.
-- shard: workflow_id
CREATE TABLE workflow_inbox (
    workflow_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL CHECK (length(message_id) BETWEEN 1 AND 128),
    kind smallint NOT NULL CHECK (kind BETWEEN 0 AND 5),
    name text NOT NULL,
    payload bytea NOT NULL,
    sent_at timestamptz NOT NULL,
    seen_by text NULL,
    consumed boolean NOT NULL,
    PRIMARY KEY (workflow_id, message_id)
);
CREATE INDEX workflow_inbox_waiting ON workflow_inbox (workflow_id) WHERE NOT consumed;

-- The answer to an update, for whoever asked and for whoever asks again under the same id.
-- shard: workflow_id
CREATE TABLE workflow_answer (
    workflow_id text COLLATE "C" NOT NULL,
    message_id text COLLATE "C" NOT NULL,
    failed boolean NOT NULL,
    outcome bytea NOT NULL,
    answered_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, message_id)
);

-- The step at which a parked workflow stands still, for an operator.
-- shard: workflow_id
CREATE TABLE workflow_stuck (
    workflow_id text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL,
    kind smallint NOT NULL,
    name text NOT NULL,
    argument_hash bytea NOT NULL,
    error text NOT NULL,
    stuck_at timestamptz NOT NULL
);

-- Who did what to a workflow, and why.
-- shard: workflow_id
CREATE TABLE workflow_audit (
    workflow_id text COLLATE "C" NOT NULL,
    audit_id uuid NOT NULL,
    verb text NOT NULL,
    who text NOT NULL CHECK (length(who) > 0),
    why text NOT NULL,
    detail text NOT NULL,
    acted_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, audit_id)
);

-- Search attributes.
-- shard: workflow_id
CREATE TABLE workflow_attribute (
    workflow_id text COLLATE "C" NOT NULL,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    value text COLLATE "C" NOT NULL CHECK (length(value) <= 256),
    number bigint NULL,
    PRIMARY KEY (workflow_id, name)
);
CREATE INDEX workflow_attribute_by_value ON workflow_attribute (name, value, workflow_id);
CREATE INDEX workflow_attribute_by_number ON workflow_attribute (name, number, workflow_id) WHERE number IS NOT NULL;

-- The last heartbeat of a long activity, with what it told of its progress.
-- shard: workflow_id
CREATE TABLE workflow_heartbeat (
    workflow_id text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    progress bytea NOT NULL,
    beaten_at timestamptz NOT NULL,
    PRIMARY KEY (workflow_id, seq)
);

-- A workflow that was forked from another one: which of its steps were made under whose id.
-- shard: workflow_id
CREATE TABLE workflow_fork (
    workflow_id text COLLATE "C" PRIMARY KEY,
    forked_from text NOT NULL,
    origins bytea NOT NULL
);

-- Each queue's turn: claims lock this row. `tokens_milli` is what is left of its rate at `refilled_at`.
-- shard: queue
CREATE TABLE workflow_queue (
    queue text PRIMARY KEY CHECK (length(queue) BETWEEN 1 AND 64),
    tokens_milli bigint NOT NULL,
    refilled_at timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Workflows that wait in a queue, or run out of it (`executor_id`); removed when they end or park.
-- shard: queue
CREATE TABLE workflow_queued (
    queue text NOT NULL,
    workflow_id text COLLATE "C" NOT NULL CHECK (length(workflow_id) BETWEEN 1 AND 128),
    key text NOT NULL,
    priority int NOT NULL,
    name text NOT NULL,
    version int NOT NULL,
    digest bytea NOT NULL,
    request bytea NOT NULL,
    call bytea NOT NULL,
    not_before timestamptz NOT NULL,
    queued_at timestamptz NOT NULL,
    executor_id text NULL,
    PRIMARY KEY (queue, workflow_id)
) WITH (fillfactor = 80);
CREATE INDEX workflow_queued_by_turn ON workflow_queued (queue, priority, queued_at, workflow_id);
CREATE INDEX workflow_queued_by_id ON workflow_queued (workflow_id);

-- How far each schedule has come.
-- shard: schedule
CREATE TABLE workflow_schedule (
    schedule text PRIMARY KEY CHECK (length(schedule) BETWEEN 1 AND 64),
    next_at timestamptz NOT NULL,
    last_id text NULL,
    paused boolean NOT NULL
) WITH (fillfactor = 50);

-- A finished workflow whose outcome is no longer kept: its id is still taken.
ALTER TABLE workflow_done ADD COLUMN forgotten boolean NOT NULL DEFAULT false;

GRANT SELECT, INSERT, UPDATE (seen_by, consumed) ON workflow_inbox TO "{role}";
GRANT SELECT, INSERT ON workflow_answer, workflow_audit, workflow_fork TO "{role}";
GRANT SELECT, INSERT, UPDATE, DELETE ON workflow_stuck, workflow_queue, workflow_queued TO "{role}";
GRANT SELECT, INSERT, UPDATE (value, number) ON workflow_attribute TO "{role}";
GRANT SELECT, INSERT, UPDATE (progress, beaten_at) ON workflow_heartbeat TO "{role}";
GRANT SELECT, INSERT, UPDATE (next_at, last_id, paused) ON workflow_schedule TO "{role}";
