-- shard: order_id
CREATE TABLE purchase (
    order_id text PRIMARY KEY,
    state text NOT NULL,
    version int NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON purchase TO "{role}";
-- shard: event_id
CREATE TABLE effect (
    event_id text PRIMARY KEY,
    count int NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON effect TO "{role}";
