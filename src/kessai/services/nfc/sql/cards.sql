-- name: cards_named
SELECT card_id, customer_id, state, lock_reason, reference, token, last_four, expires_on, replaces, replaced_by, version,
       created_at, updated_at
FROM nfc.card
WHERE card_id = ANY ($1::uuid[])

-- name: cards_of_customer
SELECT card_id
FROM nfc.card
WHERE customer_id = $1 AND ($2::boolean OR state <> 'CLOSED')
ORDER BY created_at DESC, card_id DESC
LIMIT $3

-- name: cards_of_references
SELECT reference, card_id FROM nfc.card WHERE reference = ANY ($1::text[])

-- name: insert_cards
INSERT INTO nfc.card (card_id, customer_id, state, lock_reason, reference, token, last_four, expires_on, replaces,
                      replaced_by, version, created_at, updated_at)
SELECT card_id, customer_id, state, lock_reason, reference, token, last_four, expires_on, replaces, replaced_by,
       version, created_at, updated_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::date[],
            $9::uuid[], $10::uuid[], $11::bigint[], $12::timestamptz[], $13::timestamptz[])
     AS t (card_id, customer_id, state, lock_reason, reference, token, last_four, expires_on, replaces, replaced_by,
           version, created_at, updated_at)
ON CONFLICT DO NOTHING
RETURNING card_id

-- name: update_cards
UPDATE nfc.card AS c
SET state = t.state, lock_reason = t.lock_reason, reference = t.reference, token = t.token, last_four = t.last_four,
    expires_on = t.expires_on, replaced_by = t.replaced_by, version = t.version, updated_at = t.updated_at
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::date[], $8::uuid[],
            $9::bigint[], $10::bigint[], $11::timestamptz[])
     AS t (card_id, state, lock_reason, reference, token, last_four, expires_on, replaced_by, known, version,
           updated_at)
WHERE c.card_id = t.card_id AND c.version = t.known
RETURNING c.card_id

-- name: insert_steps
INSERT INTO nfc.card_step (card_id, version, act_id, digest, kind, card_state, device_id, device_state, detail, note,
                           caller, recorded_at)
SELECT card_id, version, act_id, digest, kind, card_state, device_id, device_state, detail, note, caller, recorded_at
FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[], $5::text[], $6::text[], $7::uuid[], $8::text[],
            $9::text[], $10::text[], $11::text[], $12::timestamptz[])
     AS t (card_id, version, act_id, digest, kind, card_state, device_id, device_state, detail, note, caller,
           recorded_at)

-- name: step_of_act
SELECT digest, kind, device_id, detail FROM nfc.card_step WHERE card_id = $1 AND act_id = $2 ORDER BY version LIMIT 1

-- name: steps_page
SELECT version, kind, card_state, device_id, device_state, detail, note, caller, recorded_at
FROM nfc.card_step
WHERE card_id = $1 AND version < $2
ORDER BY version DESC
LIMIT $3

-- name: customer_cards_named
SELECT customer_id, card_id, version FROM nfc.customer_card WHERE customer_id = ANY ($1::text[])

-- name: insert_customer_cards
INSERT INTO nfc.customer_card (customer_id, card_id, version)
SELECT customer_id, card_id, 1 FROM unnest($1::text[], $2::uuid[]) AS t (customer_id, card_id)
ON CONFLICT DO NOTHING
RETURNING customer_id

-- name: update_customer_cards
UPDATE nfc.customer_card AS c
SET card_id = t.card_id, version = c.version + 1
FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS t (customer_id, card_id, known)
WHERE c.customer_id = t.customer_id AND c.version = t.known
RETURNING c.customer_id

-- name: phones_named
SELECT card_id, sealed, fingerprint, last_four, code_digest, sends, attempts, delivery, sent_at, expires_at, verified_at
FROM nfc.phone_check
WHERE card_id = ANY ($1::uuid[])

-- name: insert_phones
INSERT INTO nfc.phone_check (card_id, sealed, fingerprint, last_four, code_digest, sends, attempts, delivery, sent_at,
                             expires_at, verified_at)
SELECT card_id, sealed, fingerprint, last_four, code_digest, sends, attempts, delivery, sent_at, expires_at, verified_at
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[], $8::text[],
            $9::timestamptz[], $10::timestamptz[], $11::timestamptz[])
     AS t (card_id, sealed, fingerprint, last_four, code_digest, sends, attempts, delivery, sent_at, expires_at,
           verified_at)

-- name: update_phones
UPDATE nfc.phone_check AS p
SET code_digest = t.code_digest, sends = t.sends, attempts = t.attempts, delivery = t.delivery, sent_at = t.sent_at,
    expires_at = t.expires_at, verified_at = t.verified_at
FROM unnest($1::uuid[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[], $6::timestamptz[], $7::timestamptz[],
            $8::timestamptz[])
     AS t (card_id, code_digest, sends, attempts, delivery, sent_at, expires_at, verified_at)
WHERE p.card_id = t.card_id
RETURNING p.card_id

-- name: phones_under_old_keys
SELECT card_id, sealed
FROM nfc.phone_check
WHERE substring(sealed FROM 1 FOR length($1::bytea)) <> $1 AND card_id > $2
ORDER BY card_id
LIMIT $3

-- name: reseal_phones
UPDATE nfc.phone_check AS p
SET sealed = t.anew, fingerprint = t.fingerprint
FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[]) AS t (card_id, before, anew, fingerprint)
WHERE p.card_id = t.card_id AND p.sealed = t.before
RETURNING p.card_id

-- name: count_sms
INSERT INTO nfc.sms_quota AS q (subject, day, sends)
SELECT subject, $2::date, 1 FROM unnest($1::bytea[]) AS t (subject)
ON CONFLICT (subject, day) DO UPDATE SET sends = q.sends + 1 WHERE q.sends < $3::bigint
RETURNING subject

-- name: devices_of_cards
SELECT card_id, device_id, platform, state, pending, asked_at, suspended_by, token, last_four, expires_on, refusal_code,
       created_at, updated_at
FROM nfc.device
WHERE card_id = ANY ($1::uuid[])
ORDER BY card_id, created_at, device_id

-- name: cards_of_devices
SELECT device_id, card_id FROM nfc.device WHERE device_id = ANY ($1::uuid[])

-- name: devices_pending
SELECT device_id, card_id
FROM nfc.device
WHERE pending IS NOT NULL AND device_id > $1
ORDER BY device_id
LIMIT $2

-- name: insert_devices
INSERT INTO nfc.device (card_id, device_id, platform, state, pending, asked_at, suspended_by, token, last_four,
                        expires_on, refusal_code, created_at, updated_at)
SELECT card_id, device_id, platform, state, pending, asked_at, suspended_by, token, last_four, expires_on, refusal_code,
       created_at, updated_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
            $9::text[], $10::date[], $11::text[], $12::timestamptz[], $13::timestamptz[])
     AS t (card_id, device_id, platform, state, pending, asked_at, suspended_by, token, last_four, expires_on,
           refusal_code, created_at, updated_at)

-- name: update_devices
UPDATE nfc.device AS d
SET state = t.state, pending = t.pending, asked_at = t.asked_at, suspended_by = t.suspended_by, token = t.token,
    last_four = t.last_four, expires_on = t.expires_on, refusal_code = t.refusal_code, updated_at = t.updated_at
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::text[],
            $9::date[], $10::text[], $11::timestamptz[])
     AS t (card_id, device_id, state, pending, asked_at, suspended_by, token, last_four, expires_on, refusal_code,
           updated_at)
WHERE d.card_id = t.card_id AND d.device_id = t.device_id
RETURNING d.device_id

-- name: feed_place
SELECT position FROM nfc.feed_place WHERE feed = $1

-- name: insert_feed_place
INSERT INTO nfc.feed_place (feed, position) VALUES ($1, 0) ON CONFLICT DO NOTHING

-- name: move_feed_place
UPDATE nfc.feed_place SET position = $3 WHERE feed = $1 AND position = $2 RETURNING position
