-- name: clock
SELECT offset_us, frozen_at, version FROM sandbox.clock WHERE id = 1;

-- name: move_clock
UPDATE sandbox.clock SET offset_us = $1, frozen_at = $2, version = version + 1
 WHERE id = 1 AND version = $3
RETURNING version;
