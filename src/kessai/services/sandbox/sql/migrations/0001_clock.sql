-- How far business time is from real time, or where it stands still.
-- shard: id
CREATE TABLE clock (
    id int PRIMARY KEY CHECK (id = 1),
    offset_us bigint NOT NULL,
    frozen_at timestamptz NULL,
    version bigint NOT NULL CHECK (version > 0)
);
INSERT INTO clock (id, offset_us, frozen_at, version) VALUES (1, 0, NULL, 1);

GRANT SELECT, UPDATE (offset_us, frozen_at, version) ON clock TO "{role}";
