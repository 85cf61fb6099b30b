-- Processings that services told they touched, until they are opened. One row a flush of theirs; removed then.
-- shard: touch_id
CREATE TABLE touch (
    touch_id    uuid        NOT NULL,
    source      text        NOT NULL CHECK (length(source) BETWEEN 1 AND 32),
    entry       boolean     NOT NULL,
    payload     bytea       NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (touch_id)
);
COMMENT ON COLUMN touch.payload IS 'msgpack: the processing ids';

-- A piece of business across services, and what is known of it now.
-- shard: processing_id
CREATE TABLE processing (
    processing_id text        NOT NULL CHECK (length(processing_id) BETWEEN 1 AND 64),
    entry         text,
    participants  text[]      NOT NULL,
    revision      bigint      NOT NULL CHECK (revision > 0),
    verdict       text        NOT NULL CHECK (verdict IN ('PENDING', 'CONSISTENT', 'INCONSISTENT', 'INCOMPLETE')),
    found         boolean     NOT NULL,
    opened_at     timestamptz NOT NULL,
    touched_at    timestamptz NOT NULL,
    due_at        timestamptz NOT NULL,
    PRIMARY KEY (processing_id)
) WITH (fillfactor = 80);
CREATE INDEX processing_by_age ON processing (verdict, touched_at, processing_id);
COMMENT ON COLUMN processing.entry IS 'the participant where it began; null while that is not known';
COMMENT ON COLUMN processing.found IS 'whether there is a finding on it';

-- Who takes part, how many notices it was given and how many of them it has dealt with.
-- shard: name
CREATE TABLE participant (
    name         text        NOT NULL CHECK (length(name) BETWEEN 1 AND 32),
    head         bigint      NOT NULL CHECK (head >= 0),
    acknowledged bigint      NOT NULL CHECK (acknowledged BETWEEN 0 AND head),
    seen_at      timestamptz NOT NULL,
    PRIMARY KEY (name)
) WITH (fillfactor = 50);

-- What participants are asked to reconcile: positions first to last, one for each processing in the payload.
-- shard: participant
CREATE TABLE notice (
    participant    text        NOT NULL,
    last_position  bigint      NOT NULL,
    first_position bigint      NOT NULL CHECK (first_position BETWEEN 1 AND last_position),
    payload        bytea       NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (participant, last_position)
);
COMMENT ON COLUMN notice.payload IS 'msgpack: [processing id, revision] each';

-- What a participant found. One that tells that something is in flight may be followed by a final one.
-- shard: processing_id
CREATE TABLE report (
    processing_id  text        NOT NULL,
    revision       bigint      NOT NULL CHECK (revision > 0),
    participant    text        NOT NULL,
    final          boolean     NOT NULL,
    outcome        text        NOT NULL CHECK (outcome IN ('MATCHED', 'DIFFERENT', 'IN_FLIGHT')),
    digest         bytea       NOT NULL CHECK (length(digest) = 32),
    effects_digest bytea       NOT NULL CHECK (length(effects_digest) = 32),
    dependencies   text[]      NOT NULL,
    callers        text[]      NOT NULL,
    subject        text,
    body           bytea       NOT NULL,
    reported_at    timestamptz NOT NULL,
    PRIMARY KEY (processing_id, revision, participant, final),
    CHECK (final = (outcome <> 'IN_FLIGHT'))
);
CREATE INDEX report_by_subject ON report (subject) WHERE subject IS NOT NULL;
COMMENT ON COLUMN report.digest IS 'of the whole report, in canonical form';
COMMENT ON COLUMN report.subject IS 'the first effect of the participant where the processing began: the payment';
COMMENT ON COLUMN report.body IS 'msgpack: [effects, differences]';

-- A verdict, with the digests of the reports it rests on, and its place in the chain.
-- shard: processing_id
CREATE TABLE verdict (
    processing_id text        NOT NULL,
    revision      bigint      NOT NULL CHECK (revision > 0),
    verdict       text        NOT NULL CHECK (verdict IN ('CONSISTENT', 'INCONSISTENT', 'INCOMPLETE')),
    late          text[]      NOT NULL,
    reports       bytea       NOT NULL,
    undeclared    bytea       NOT NULL,
    batch         bigint      NOT NULL CHECK (batch > 0),
    leaf          int         NOT NULL CHECK (leaf >= 0),
    decided_at    timestamptz NOT NULL,
    PRIMARY KEY (processing_id, revision, verdict)
);
COMMENT ON COLUMN verdict.reports IS 'msgpack: [participant, digest] each';
COMMENT ON COLUMN verdict.undeclared IS 'msgpack: [caller, callee] each, where the caller does not name the callee';

-- One link of a chain: a batch of verdicts under one Merkle root.
-- shard: chain
CREATE TABLE seal (
    chain     text        NOT NULL,
    batch     bigint      NOT NULL CHECK (batch > 0),
    leaves    bytea       NOT NULL CHECK (length(leaves) > 0 AND length(leaves) % 32 = 0),
    root      bytea       NOT NULL CHECK (length(root) = 32),
    seal      bytea       NOT NULL CHECK (length(seal) = 32),
    sealed_at timestamptz NOT NULL,
    PRIMARY KEY (chain, batch)
);

-- shard: chain
CREATE TABLE seal_head (
    chain text   NOT NULL,
    batch bigint NOT NULL CHECK (batch >= 0),
    seal  bytea  NOT NULL CHECK (length(seal) = 32),
    PRIMARY KEY (chain)
) WITH (fillfactor = 50);
INSERT INTO seal_head (chain, batch, seal) VALUES ('verdicts', 0, decode(repeat('00', 32), 'hex'));

-- Totals per day (Asia/Tokyo): how many processings were opened, touched, decided and how.
-- shard: day
CREATE TABLE tally (
    day   date   NOT NULL,
    name  text   NOT NULL,
    count bigint NOT NULL CHECK (count >= 0),
    PRIMARY KEY (day, name)
) WITH (fillfactor = 50);

-- What people work on: at most one a processing. The version is the number of its last step.
-- shard: finding_id
CREATE TABLE finding (
    finding_id    uuid        NOT NULL,
    processing_id text        NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('INCONSISTENT', 'INCOMPLETE', 'CONTRADICTION')),
    state         text        NOT NULL CHECK (state IN ('OPEN', 'ASSIGNED', 'EXPLAINED', 'REPAIRED', 'CLOSED')),
    version       bigint      NOT NULL CHECK (version > 0),
    revision      bigint      NOT NULL CHECK (revision > 0),
    assignee      text,
    opened_at     timestamptz NOT NULL,
    changed_at    timestamptz NOT NULL,
    PRIMARY KEY (finding_id)
) WITH (fillfactor = 80);
CREATE INDEX finding_by_age ON finding (state, opened_at, finding_id);
COMMENT ON COLUMN finding.revision IS 'of the processing, when it was last found wrong';

-- shard: finding_id
CREATE TABLE finding_step (
    finding_id  uuid        NOT NULL,
    sequence    bigint      NOT NULL CHECK (sequence > 0),
    state       text        NOT NULL,
    acted_by    text        NOT NULL,
    reason      text        NOT NULL,
    assignee    text,
    repair_kind text,
    repair_id   text,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (finding_id, sequence),
    CHECK ((repair_kind IS NULL) = (repair_id IS NULL))
);

GRANT SELECT, INSERT, DELETE ON touch, notice TO "{role}";
GRANT SELECT, INSERT ON processing, participant, report, verdict, seal, tally, finding, finding_step TO "{role}";
GRANT UPDATE (entry, participants, revision, verdict, found, touched_at, due_at) ON processing TO "{role}";
GRANT UPDATE (head, acknowledged, seen_at) ON participant TO "{role}";
GRANT SELECT, UPDATE (batch, seal) ON seal_head TO "{role}";
GRANT UPDATE (count) ON tally TO "{role}";
GRANT UPDATE (kind, state, version, revision, assignee, changed_at) ON finding TO "{role}";
