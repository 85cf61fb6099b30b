-- In which processing, and by whom, a step of an instruction was written down; what was done in a processing.

ALTER TABLE instruction_step ADD COLUMN processing_id text NOT NULL DEFAULT '';
ALTER TABLE instruction_step ADD COLUMN caller text NOT NULL DEFAULT 'bank';
ALTER TABLE instruction_step ADD COLUMN was text;

COMMENT ON COLUMN instruction_step.was IS 'the state that the step led from';

CREATE INDEX instruction_of_processing ON instruction (processing_id);
CREATE INDEX instruction_step_of_processing ON instruction_step (processing_id);
