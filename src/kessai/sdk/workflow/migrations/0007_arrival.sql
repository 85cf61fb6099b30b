-- Messages of a workflow are taken in the order in which they arrived, whatever their senders' clocks showed.
ALTER TABLE workflow_inbox ADD COLUMN arrival bigint NOT NULL DEFAULT 0;
