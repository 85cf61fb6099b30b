-- What was done in a processing; calls from outside without one are of none.

CREATE INDEX exchange_of_processing ON exchange (processing_id) WHERE processing_id IS NOT NULL;
CREATE INDEX exchange_action_of_processing ON exchange_action (processing_id) WHERE processing_id IS NOT NULL;
