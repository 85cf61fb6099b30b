-- Refunds of a payment: how many of them were refused, before it is asked for anew.
CREATE INDEX movement_refund_of ON movement (refund_of) WHERE refund_of IS NOT NULL;
COMMENT ON COLUMN payout.offset_payment_id IS 'the payment of the latest offset (相殺): one for each debtor, one after the other';
