-- Idempotency keys of requests whose effects stand under ids of their own: with other content a key is refused.
-- shard: request_key
CREATE TABLE request_key (
    request_key uuid PRIMARY KEY,
    digest bytea NOT NULL,
    flush_id bigint NOT NULL
);
GRANT SELECT, INSERT ON request_key TO {role};
