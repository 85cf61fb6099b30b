-- Who works on what, until when. `lease_until` is the database's real time; a taker raises the epoch.
-- shard: name
CREATE TABLE lease (
    name text PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 200),
    holder text NOT NULL,
    epoch bigint NOT NULL CHECK (epoch > 0),
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- Events as they were committed, one row a flush and topic; the relay gives each row its position afterwards.
-- shard: outbox_id
CREATE TABLE outbox (
    outbox_id uuid PRIMARY KEY,
    topic text NOT NULL CHECK (length(topic) BETWEEN 1 AND 128),
    event_count int NOT NULL CHECK (event_count > 0),
    payload bytea NOT NULL,
    recorded_at timestamptz NOT NULL,
    position bigint NULL CHECK (position > 0)
);
CREATE INDEX outbox_unpositioned ON outbox (outbox_id) WHERE position IS NULL;
CREATE INDEX outbox_by_position ON outbox (position);

-- The last position given out, for each outbox.
-- shard: source
CREATE TABLE outbox_head (
    source text PRIMARY KEY,
    position bigint NOT NULL CHECK (position >= 0)
) WITH (fillfactor = 50);
INSERT INTO outbox_head (source, position) VALUES ('{schema}', 0);

-- How far each subscription has taken effect: `handled` events of the row at `position`, and all before it.
-- shard: subscription
CREATE TABLE subscription_cursor (
    subscription text PRIMARY KEY CHECK (length(subscription) BETWEEN 1 AND 128),
    source text NOT NULL,
    position bigint NOT NULL CHECK (position >= 0),
    handled int NOT NULL CHECK (handled >= 0)
) WITH (fillfactor = 50);

-- Events whose handler failed, kept until an operator has them tried again.
-- shard: subscription
CREATE TABLE parked_event (
    subscription text NOT NULL,
    position bigint NOT NULL,
    ordinal int NOT NULL,
    source text NOT NULL,
    topic text NOT NULL,
    payload bytea NOT NULL,
    error text NOT NULL,
    attempts int NOT NULL CHECK (attempts > 0),
    parked_at timestamptz NOT NULL,
    resolved_at timestamptz NULL,
    PRIMARY KEY (subscription, position, ordinal)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON lease TO "{role}";
GRANT SELECT, INSERT, UPDATE (position) ON outbox TO "{role}";
GRANT SELECT, UPDATE (position) ON outbox_head TO "{role}";
GRANT SELECT, INSERT, UPDATE (position, handled) ON subscription_cursor TO "{role}";
GRANT SELECT, INSERT, UPDATE (error, attempts, resolved_at) ON parked_event TO "{role}";
