-- Rules look at findings in the order in which they changed.
CREATE INDEX finding_by_change ON finding (state, changed_at, finding_id);
COMMENT ON COLUMN repair.repair_id IS 'derived from the processing, the effect and the action: a rule tries once';
