-- On whose behalf an authorization was made, and what was done in a processing.

ALTER TABLE card_authorization ADD COLUMN caller text NOT NULL DEFAULT 'payment';

COMMENT ON COLUMN card_authorization.caller IS 'the service or API key that asked for it first';

CREATE INDEX card_authorization_of_processing ON card_authorization (processing_id);
CREATE INDEX card_operation_of_processing ON card_operation (processing_id);
