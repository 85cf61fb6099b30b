-- name: broken_histories
SELECT 'change' AS relation, c.subject_id AS key,
    CASE WHEN c.first <> 1 OR c.last <> c.changes THEN 'its changes are not numbered 1, 2, 3 …'
        WHEN coalesce(m.version, y.version) IS NULL THEN 'there is no such merchant or company'
        ELSE format('it is in version %s, its changes in %s', coalesce(m.version, y.version), c.last) END AS sentence
FROM (SELECT subject_id, count(*) AS changes, min(version) AS first, max(version) AS last FROM merchant.change GROUP BY subject_id)
    AS c
LEFT JOIN merchant.merchant AS m ON m.merchant_id = c.subject_id
LEFT JOIN merchant.company AS y ON y.company_id = c.subject_id
WHERE c.first <> 1 OR c.last <> c.changes OR coalesce(m.version, y.version) IS DISTINCT FROM c.last
LIMIT $1;

-- name: merchants_without_history
SELECT 'merchant' AS relation, m.merchant_id AS key, 'nothing tells how it came to be' AS sentence
FROM merchant.merchant AS m LEFT JOIN merchant.change AS c ON c.subject_id = m.merchant_id AND c.version = 1
WHERE c.subject_id IS NULL
UNION ALL
SELECT 'company', y.company_id, 'nothing tells how it came to be'
FROM merchant.company AS y LEFT JOIN merchant.change AS c ON c.subject_id = y.company_id AND c.version = 1
WHERE c.subject_id IS NULL
LIMIT $1;

-- name: merchants_unlike_history
SELECT 'merchant' AS relation, m.merchant_id AS key,
    format('it is %s, its history makes it %s', m.state, s.content) AS sentence
FROM merchant.merchant AS m
JOIN (
    SELECT subject_id, (array_agg(content ORDER BY valid_from DESC, version DESC))[1] AS content
    FROM merchant.change WHERE aspect = 'state' GROUP BY subject_id
) AS s ON s.subject_id = m.merchant_id
WHERE s.content::jsonb IS DISTINCT FROM to_jsonb(m.state)
LIMIT $1;

-- name: own_collectors
SELECT 'change' AS relation, c.subject_id || '/' || c.version AS key,
    format('it is collected for by %s, which is no merchant', c.parent_id) AS sentence
FROM merchant.change AS c LEFT JOIN merchant.merchant AS m ON m.merchant_id = c.parent_id
WHERE c.parent_id IS NOT NULL AND m.merchant_id IS NULL
LIMIT $1;

-- name: overlapping_ids
SELECT 'master_id' AS relation, concat_ws('/', i.payment_method, i.methods_id, i.sequence::text) AS key,
    format('it begins at %s, the one before it ends at %s', i.valid_from, i.previous_until) AS sentence
FROM (
    SELECT methods_id, payment_method, sequence, valid_from,
        lag(coalesce(valid_until, 'infinity')) OVER (PARTITION BY methods_id, payment_method ORDER BY valid_from, sequence)
            AS previous_until
    FROM merchant.master_id WHERE valid_until IS NULL OR valid_until > valid_from
) AS i
WHERE i.previous_until > i.valid_from
LIMIT $1;

-- name: strange_ids
SELECT 'master_id' AS relation, concat_ws('/', i.payment_method, i.methods_id, i.sequence::text) AS key,
    CASE WHEN m.merchant_id IS NULL THEN format('there is no merchant %s', i.merchant_id)
        WHEN h.version IS NULL THEN 'it has no head'
        ELSE 'no step tells of it' END AS sentence
FROM merchant.master_id AS i
LEFT JOIN merchant.merchant AS m ON m.merchant_id = i.merchant_id
LEFT JOIN merchant.master_head AS h ON h.methods_id = i.methods_id AND h.payment_method = i.payment_method
LEFT JOIN (
    SELECT DISTINCT methods_id, payment_method, merchant_id FROM merchant.master_step WHERE kind = 'mapped'
) AS s ON s.methods_id = i.methods_id AND s.payment_method = i.payment_method AND s.merchant_id = i.merchant_id
WHERE m.merchant_id IS NULL OR h.version IS NULL OR s.methods_id IS NULL
LIMIT $1;

-- name: broken_imports
SELECT 'master_import' AS relation, 'imp_' || encode(uuid_send(i.import_id), 'hex') AS key,
    format('it tells of %s taken and %s wrong lines, there are %s and %s', i.taken, i.wrong, coalesce(s.taken, 0),
        coalesce(e.wrong, 0)) AS sentence
FROM merchant.master_import AS i
LEFT JOIN (SELECT import_id, count(*) AS taken FROM merchant.master_id WHERE import_id IS NOT NULL GROUP BY import_id) AS s
    ON s.import_id = i.import_id
LEFT JOIN (SELECT import_id, count(*) AS wrong FROM merchant.master_import_error GROUP BY import_id) AS e
    ON e.import_id = i.import_id
WHERE i.taken <> coalesce(s.taken, 0) OR i.wrong < coalesce(e.wrong, 0)
LIMIT $1;
