-- name: versions
SELECT merchant_id, version FROM merchant.merchant WHERE merchant_id = ANY ($1::text[])

-- name: states
SELECT merchant_id, state FROM merchant.merchant WHERE merchant_id = ANY ($1::text[])

-- name: entries_of
SELECT subject_id, version, change_id, aspect, valid_from, valid_until, content, reason, changed_by, approval_id,
       approved_by, digest, recorded_at
FROM merchant.change
WHERE subject_id = ANY ($1::text[])
ORDER BY subject_id, version

-- name: children_ever
SELECT DISTINCT subject_id FROM merchant.change WHERE parent_id = $1

-- name: insert_merchants
INSERT INTO merchant.merchant (merchant_id, company_id, name, kind, state, version, created_at, updated_at)
SELECT merchant_id, company_id, name, kind, state, version, at, at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[])
     AS t (merchant_id, company_id, name, kind, state, version, at)
ON CONFLICT DO NOTHING
RETURNING merchant_id

-- name: update_merchants
UPDATE merchant.merchant AS m
SET company_id = t.company_id, name = t.name, kind = t.kind, state = t.state, version = t.version, updated_at = t.at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::timestamptz[])
     AS t (merchant_id, company_id, name, kind, state, version, at)
WHERE m.merchant_id = t.merchant_id AND m.version = t.version - 1
RETURNING m.merchant_id

-- name: insert_changes
INSERT INTO merchant.change (subject_id, version, change_id, aspect, valid_from, valid_until, content, parent_id, reason,
                    changed_by, approval_id, approved_by, digest, recorded_at)
SELECT subject_id, version, change_id, aspect, valid_from, valid_until, content, parent_id, reason, changed_by,
       approval_id, approved_by, digest, recorded_at
FROM unnest($1::text[], $2::bigint[], $3::uuid[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::text[],
            $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[], $14::timestamptz[])
     AS t (subject_id, version, change_id, aspect, valid_from, valid_until, content, parent_id, reason, changed_by,
           approval_id, approved_by, digest, recorded_at)

-- name: history_page
SELECT version, aspect, valid_from, content, reason, changed_by, approval_id, approved_by, recorded_at
FROM merchant.change
WHERE subject_id = $1 AND version < $2 AND ($3::text IS NULL OR aspect = $3)
ORDER BY version DESC
LIMIT $4

-- name: merchants_page
SELECT merchant_id, company_id, name, kind, state, version, created_at, updated_at
FROM merchant.merchant
WHERE merchant_id > $1 AND ($2::text IS NULL OR company_id = $2) AND ($3::text IS NULL OR state = $3)
ORDER BY merchant_id
LIMIT $4

-- name: children_page
SELECT merchant_id, company_id, name, kind, state, version, created_at, updated_at
FROM merchant.merchant AS m
WHERE merchant_id > $3
  AND merchant_id IN (SELECT subject_id FROM merchant.change WHERE parent_id = $1)
  AND (SELECT c.parent_id FROM merchant.change AS c
       WHERE c.subject_id = m.merchant_id AND c.aspect = 'parent' AND c.valid_from <= $2
       ORDER BY c.valid_from DESC, c.version DESC LIMIT 1) = $1
ORDER BY merchant_id
LIMIT $4

-- name: insert_companies
INSERT INTO merchant.company (company_id, profile, version, created_at, updated_at)
SELECT company_id, profile, version, at, at
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[]) AS t (company_id, profile, version, at)
ON CONFLICT DO NOTHING
RETURNING company_id

-- name: update_companies
UPDATE merchant.company AS c
SET profile = t.profile, version = t.version, updated_at = t.at
FROM unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[]) AS t (company_id, profile, version, at)
WHERE c.company_id = t.company_id AND c.version = t.version - 1
RETURNING c.company_id

-- name: companies_named
SELECT company_id, profile, version, created_at, updated_at FROM merchant.company WHERE company_id = ANY ($1::text[])

-- name: companies_page
SELECT company_id, profile, version, created_at, updated_at
FROM merchant.company
WHERE company_id > $1
ORDER BY company_id
LIMIT $2

-- name: company_profiles_at
SELECT DISTINCT ON (subject_id) subject_id, content
FROM merchant.change
WHERE subject_id = ANY ($1::text[]) AND aspect = 'company' AND valid_from <= $2
ORDER BY subject_id, valid_from DESC, version DESC
