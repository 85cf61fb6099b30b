-- Payments, steps and refunds of a processing, and what a step gave back by further exchanges.

ALTER TABLE payment_step ADD COLUMN given_back text;

COMMENT ON COLUMN payment_step.given_back IS 'JSON: what went back with the step, and by which ledger exchanges';

CREATE INDEX payment_of_processing ON payment (processing_id);
CREATE INDEX payment_step_of_processing ON payment_step (processing_id);
CREATE INDEX refund_of_processing ON refund (processing_id);
