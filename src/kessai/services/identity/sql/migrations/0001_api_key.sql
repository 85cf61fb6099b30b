-- shard: key_id
CREATE TABLE api_key (
    key_id uuid PRIMARY KEY,
    secret_sha256 bytea NOT NULL CHECK (length(secret_sha256) = 32),
    last_four text NOT NULL CHECK (length(last_four) = 4),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    scopes text[] NOT NULL CHECK (cardinality(scopes) > 0),
    created_at timestamptz NOT NULL,
    created_by text NOT NULL,
    revoked_at timestamptz
);

CREATE INDEX api_key_newest ON api_key (created_at, key_id);

-- One row a database: whoever writes it has made the first key.
-- shard: turn
CREATE TABLE first_key (
    turn int PRIMARY KEY CHECK (turn = 1),
    key_id uuid NOT NULL
);

GRANT SELECT, INSERT ON api_key, first_key TO {role};
GRANT UPDATE (revoked_at) ON api_key TO {role};
