-- What a rule had a service do about a finding: written down before the service is told, and told again until it answers.
-- shard: processing_id
CREATE TABLE repair (
    processing_id text        NOT NULL,
    repair_id     uuid        NOT NULL,
    finding_id    uuid        NOT NULL,
    revision      bigint      NOT NULL CHECK (revision > 0),
    rule          text        NOT NULL,
    service       text        NOT NULL,
    action        text        NOT NULL,
    effect_id     text        NOT NULL,
    state         text        NOT NULL CHECK (state IN ('INSTRUCTED', 'DONE', 'REFUSED')),
    attempts      int         NOT NULL CHECK (attempts >= 0),
    due_at        timestamptz NOT NULL,
    outcome       text,
    instructed_at timestamptz NOT NULL,
    settled_at    timestamptz,
    PRIMARY KEY (processing_id, repair_id),
    CHECK ((state = 'INSTRUCTED') = (settled_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX repair_due ON repair (due_at) WHERE state = 'INSTRUCTED';
COMMENT ON COLUMN repair.repair_id IS 'derived from the processing, its revision, the effect and the action';
COMMENT ON COLUMN repair.outcome IS 'what the service named as its doing, or the code of its refusal';

-- A verdict whose reports were kept for long enough has lost what it rests on; its leaf stays in its batch.
ALTER TABLE verdict ADD COLUMN retired_at timestamptz;

-- How far retention has come, by class and verdict, in the order in which processings were last touched.
-- shard: class
CREATE TABLE retention_cursor (
    class      text        NOT NULL,
    verdict    text        NOT NULL,
    touched_at timestamptz NOT NULL,
    last_id    text        NOT NULL,
    PRIMARY KEY (class, verdict)
);

-- Processings whose time is over and on which somebody still works.
-- shard: processing_id
CREATE TABLE retention_held (
    processing_id text NOT NULL,
    class         text NOT NULL,
    PRIMARY KEY (processing_id)
);

GRANT SELECT, INSERT ON repair TO "{role}";
GRANT UPDATE (state, attempts, due_at, outcome, settled_at) ON repair TO "{role}";
