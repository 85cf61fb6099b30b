-- A workflow that waits for long is in no executor's memory: when it is to be woken, in business time. Else NULL.
ALTER TABLE workflow_open ADD COLUMN wake_at timestamptz NULL;
CREATE INDEX workflow_open_resting ON workflow_open (wake_at) WHERE wake_at IS NOT NULL;
GRANT UPDATE (wake_at) ON workflow_open TO "{role}";
