-- One row a database: whoever revokes a key that may administer keys takes it first, so that two cannot do so at once.
-- shard: turn
CREATE TABLE admin_turn (
    turn int PRIMARY KEY CHECK (turn = 1),
    taken bigint NOT NULL CHECK (taken >= 0)
) WITH (fillfactor = 50);
INSERT INTO admin_turn (turn, taken) VALUES (1, 0);

-- A second person's consent (承認) to one content.
-- shard: approval_id
CREATE TABLE approval (
    approval_id uuid PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('REQUESTED', 'APPROVED', 'REJECTED', 'CONSUMED')),
    version bigint NOT NULL CHECK (version >= 0),
    subject text NOT NULL,
    action text NOT NULL,
    content_sha256 bytea NOT NULL CHECK (length(content_sha256) = 32),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    approved_by text CHECK (approved_by <> requested_by),
    consumer_id text,
    CHECK (state NOT IN ('APPROVED', 'CONSUMED') OR approved_by IS NOT NULL),
    CHECK ((state = 'CONSUMED') = (consumer_id IS NOT NULL))
);

CREATE INDEX approval_newest ON approval (requested_at, approval_id);

-- shard: approval_id
CREATE TABLE approval_step (
    approval_id uuid NOT NULL,
    sequence bigint NOT NULL,
    state text NOT NULL,
    acted_by text NOT NULL,
    reason text,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (approval_id, sequence)
);

GRANT SELECT, UPDATE (taken) ON admin_turn TO {role};
GRANT SELECT, INSERT ON approval, approval_step TO {role};
GRANT UPDATE (state, version, approved_by, consumer_id) ON approval TO {role};
