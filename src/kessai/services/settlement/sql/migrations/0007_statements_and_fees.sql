-- Which version of a payout the statement of its cycle tells of: one that has changed since is looked at by the next run.
ALTER TABLE payout ADD COLUMN stated_version bigint;
COMMENT ON COLUMN payout.stated_version IS 'the version of it that its cycle''s statement was issued of, or found to tell of';
GRANT UPDATE (stated_version) ON payout TO "{role}";
CREATE INDEX payout_to_state ON payout (payee_id, cycle_id)
    WHERE state <> 'MADE' AND stated_version IS DISTINCT FROM version;

-- Payouts that were paid after all, and whose transfer fee had gone back by then: it is charged again.
CREATE INDEX payout_fee_again ON payout (payee_id, payout_id) 
    WHERE reason IN ('paid_after_all:transfer_fee_given_back', 'paid_after_all:transfer_fee_asked');
