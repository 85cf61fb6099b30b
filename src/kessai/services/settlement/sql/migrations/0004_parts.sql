-- One payment moves at most what the amount of a transfer has room for (総合振込: ten digits): what is more is cleared, and
-- paid, in parts.
ALTER TABLE clearing ADD COLUMN part integer NOT NULL DEFAULT 0 CHECK (part >= 0);
ALTER TABLE clearing DROP CONSTRAINT clearing_pkey;
ALTER TABLE clearing ADD PRIMARY KEY (payee_id, cycle_id, owner_id, part);
COMMENT ON COLUMN clearing.part IS 'of what one owner''s cycle comes to; 0 alone, unless that is more than one payment moves';

ALTER TABLE payout ADD COLUMN part integer NOT NULL DEFAULT 0 CHECK (part >= 0);
ALTER TABLE payout DROP CONSTRAINT one_payout_a_cycle;
ALTER TABLE payout ADD CONSTRAINT one_payout_a_part UNIQUE (payee_id, cycle_id, part);
COMMENT ON COLUMN payout.part IS 'of its cycle; 0 alone, unless that comes to more than one transfer moves';
