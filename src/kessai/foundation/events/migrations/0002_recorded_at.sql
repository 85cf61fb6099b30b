-- When a parked event was committed at its source; of those that were parked before, nobody kept it.
ALTER TABLE {schema}.parked_event ADD COLUMN recorded_at timestamptz NULL;
