-- Stretches of business dates on which a job had nothing to do, so that no run was made for them.
-- shard: name
CREATE TABLE job_idle (
    name       text        NOT NULL CHECK (length(name) BETWEEN 1 AND 64),
    first_day  date        NOT NULL,
    last_day   date        NOT NULL CHECK (last_day >= first_day),
    looked_at  timestamptz NOT NULL,
    PRIMARY KEY (name, first_day)
);
COMMENT ON COLUMN job_idle.looked_at IS 'in business time: when it was found that there was nothing to do';

GRANT SELECT, INSERT ON job_idle TO "{role}";
