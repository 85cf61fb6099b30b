-- The bank's own day (起算日) of a transfer: what it told of it, whenever the platform heard.
ALTER TABLE payout ADD COLUMN value_on date;
COMMENT ON COLUMN payout.value_on IS 'the day on which the bank booked the transfer; paid_on is the day on which we heard of it, where the bank names none';
GRANT UPDATE (value_on) ON payout TO "{role}";
