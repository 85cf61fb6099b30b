-- name: lease_moment
SELECT clock_timestamp() AS moment;

-- name: lease_create
INSERT INTO {schema}.lease (name, holder, epoch, lease_until)
VALUES ($1::text, $2::text, 1, $3::timestamptz)
ON CONFLICT (name) DO NOTHING
RETURNING epoch;

-- name: lease_take
UPDATE {schema}.lease SET holder = $2::text, epoch = epoch + 1, lease_until = $3::timestamptz
WHERE name = $1::text AND lease_until <= $4::timestamptz
RETURNING epoch;

-- name: lease_renew
UPDATE {schema}.lease SET lease_until = $4::timestamptz
WHERE name = $1::text AND holder = $2::text AND epoch = $3::bigint
RETURNING epoch;

-- name: lease_renew_all
UPDATE {schema}.lease SET lease_until = u.lease_until
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[]) AS u (name, holder, epoch, lease_until)
WHERE lease.name = u.name AND lease.holder = u.holder AND lease.epoch = u.epoch
RETURNING lease.name, lease.holder;

-- name: lease_fence
SELECT epoch FROM {schema}.lease WHERE name = $1::text AND holder = $2::text AND epoch = $3::bigint FOR SHARE;

-- name: lease_release
UPDATE {schema}.lease SET lease_until = $4::timestamptz
WHERE name = $1::text AND holder = $2::text AND epoch = $3::bigint;

-- name: lease_drop
DELETE FROM {schema}.lease WHERE name = $1::text AND holder = $2::text AND epoch = $3::bigint;

-- name: outbox_insert
INSERT INTO {schema}.outbox (outbox_id, topic, event_count, payload, recorded_at)
SELECT u.outbox_id, u.topic, u.event_count, u.payload, u.recorded_at
FROM (
    SELECT unnest($1::uuid[]) AS outbox_id, unnest($2::text[]) AS topic, unnest($3::int[]) AS event_count,
        unnest($4::bytea[]) AS payload, unnest($5::timestamptz[]) AS recorded_at
) AS u;

-- name: outbox_unpositioned
SELECT outbox_id FROM {schema}.outbox WHERE position IS NULL ORDER BY outbox_id LIMIT $1::int;

-- name: outbox_head
SELECT position FROM {schema}.outbox_head WHERE source = $1::text;

-- name: outbox_assign
WITH head AS (
    UPDATE {schema}.outbox_head SET position = $3::bigint
    WHERE source = $1::text AND position = $2::bigint
    RETURNING position
), moved AS (
    UPDATE {schema}.outbox SET position = u.position
    FROM head, unnest($4::uuid[], $5::bigint[]) AS u (outbox_id, position)
    WHERE outbox.outbox_id = u.outbox_id AND outbox.position IS NULL
    RETURNING outbox.outbox_id
)
SELECT (SELECT count(*) FROM head) AS heads, (SELECT count(*) FROM moved) AS rows;

-- name: outbox_after
SELECT r.outbox_id, r.position, r.topic, r.payload, r.recorded_at
FROM (
    SELECT o.outbox_id, o.position, o.topic, o.payload, o.recorded_at,
        sum(o.event_count) OVER (ORDER BY o.position) - o.event_count AS events_before
    FROM (
        SELECT outbox_id, position, topic, payload, recorded_at, event_count FROM {schema}.outbox
        WHERE position >= $1::bigint AND (position > $1::bigint OR event_count > $2::int) AND topic = ANY($3::text[])
        ORDER BY position LIMIT $4::int
    ) AS o
) AS r
WHERE r.events_before < $5::bigint
ORDER BY r.position;

-- name: cursor_create
INSERT INTO {schema}.subscription_cursor (subscription, source, position, handled)
VALUES ($1::text, $2::text, 0, 0)
ON CONFLICT (subscription) DO NOTHING;

-- name: cursor_read
SELECT source, position, handled FROM {schema}.subscription_cursor WHERE subscription = $1::text;

-- name: cursor_move
UPDATE {schema}.subscription_cursor SET position = $4::bigint, handled = $5::int
WHERE subscription = $1::text AND position = $2::bigint AND handled = $3::int
RETURNING subscription;

-- name: parked_insert
INSERT INTO {schema}.parked_event
    (subscription, position, ordinal, source, topic, payload, error, attempts, parked_at, recorded_at)
VALUES ($1::text, $2::bigint, $3::int, $4::text, $5::text, $6::bytea, $7::text, 1, $8::timestamptz, $9::timestamptz);

-- name: parked_list
SELECT subscription, source, position, ordinal, topic, payload, error, attempts, parked_at, recorded_at
FROM {schema}.parked_event WHERE resolved_at IS NULL
ORDER BY subscription, position, ordinal LIMIT $1::int;

-- name: parked_one
SELECT source, topic, payload, parked_at, recorded_at FROM {schema}.parked_event
WHERE subscription = $1::text AND position = $2::bigint AND ordinal = $3::int AND resolved_at IS NULL;

-- name: parked_resolve
UPDATE {schema}.parked_event SET resolved_at = $4::timestamptz
WHERE subscription = $1::text AND position = $2::bigint AND ordinal = $3::int AND resolved_at IS NULL
RETURNING subscription;

-- name: parked_again
UPDATE {schema}.parked_event SET error = $4::text, attempts = attempts + 1
WHERE subscription = $1::text AND position = $2::bigint AND ordinal = $3::int AND resolved_at IS NULL;
