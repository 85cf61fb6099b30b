-- Clearing: files, their lines, the sales that these make, what bears them, and findings.

-- name: broken_clearing_files
SELECT 'clearing_file' AS relation, f.file_id AS key,
    CASE WHEN e.file_id IS NULL THEN 'no event tells of it'
        WHEN (e.events, e.state, e.sequence, e.day, e.code, e.lines)
            IS DISTINCT FROM (f.version, f.state, f.sequence, f.day, f.code, f.lines)
            THEN 'its last event tells of it otherwise'
        WHEN f.state = 'REFUSED' THEN 'it was refused, and lines of it are kept'
        WHEN f.lines <> coalesce(l.lines, 0) + coalesce(w.lines, 0)
            THEN format('its trailer counts %s lines, there are %s and %s wrong ones', f.lines, coalesce(l.lines, 0),
                coalesce(w.lines, 0))
        WHEN f.state = 'CLEARED' AND l.undecided > 0 THEN format('it is CLEARED, and %s lines have no outcome', l.undecided)
        WHEN f.taken_at <> e.taken_at OR f.cleared_at IS DISTINCT FROM e.cleared_at
            THEN 'it was taken or cleared at another time than its events say'
        ELSE 'its lines do not add up to its trailer' END AS sentence
FROM nfc.clearing_file AS f
LEFT JOIN (
    SELECT t.event ->> 'file_id' AS file_id, count(*) AS events,
        (array_agg(t.event ->> 'state' ORDER BY o.recorded_at DESC, o.outbox_id DESC))[1] AS state,
        (array_agg((t.event ->> 'sequence')::bigint ORDER BY o.recorded_at DESC, o.outbox_id DESC))[1] AS sequence,
        (array_agg((t.event ->> 'day')::date ORDER BY o.recorded_at DESC, o.outbox_id DESC))[1] AS day,
        (array_agg(t.event ->> 'code' ORDER BY o.recorded_at DESC, o.outbox_id DESC))[1] AS code,
        (array_agg((t.event ->> 'lines')::bigint ORDER BY o.recorded_at DESC, o.outbox_id DESC))[1] AS lines,
        max((t.event ->> 'occurred_at')::timestamptz) FILTER (WHERE t.event ->> 'state' <> 'CLEARED') AS taken_at,
        max((t.event ->> 'occurred_at')::timestamptz) FILTER (WHERE t.event ->> 'state' = 'CLEARED') AS cleared_at
    FROM nfc.outbox AS o CROSS JOIN LATERAL jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb) AS t (event)
    WHERE o.topic = 'nfc.clearing' AND t.event ->> 'type' = 'nfc.clearing_file' GROUP BY t.event ->> 'file_id'
) AS e ON e.file_id = f.file_id
LEFT JOIN (
    SELECT file_id, count(*) AS lines, count(*) FILTER (WHERE outcome IS NULL) AS undecided,
        count(*) FILTER (WHERE kind = 'S') AS sales, coalesce(sum(amount_minor) FILTER (WHERE kind = 'S'), 0) AS sales_minor,
        count(*) FILTER (WHERE kind = 'R') AS refunds, coalesce(sum(amount_minor) FILTER (WHERE kind = 'R'), 0) AS refunds_minor,
        count(*) FILTER (WHERE kind = 'V') AS reversals, coalesce(sum(amount_minor) FILTER (WHERE kind = 'V'), 0)
            AS reversals_minor
    FROM nfc.clearing_line GROUP BY file_id
) AS l ON l.file_id = f.file_id
LEFT JOIN (SELECT file_id, count(*) AS lines FROM nfc.clearing_line_wrong GROUP BY file_id) AS w ON w.file_id = f.file_id
WHERE e.file_id IS NULL OR (e.events, e.state, e.sequence, e.day, e.code, e.lines)
        IS DISTINCT FROM (f.version, f.state, f.sequence, f.day, f.code, f.lines)
    OR f.taken_at <> e.taken_at OR f.cleared_at IS DISTINCT FROM e.cleared_at
    OR (f.state = 'REFUSED' AND (l.file_id IS NOT NULL OR w.file_id IS NOT NULL))
    OR f.lines <> coalesce(l.lines, 0) + coalesce(w.lines, 0) OR (f.state = 'CLEARED' AND l.undecided > 0)
    OR (w.file_id IS NULL AND (f.sales_count, f.sales_minor, f.refunds_count, f.refunds_minor, f.reversals_count,
        f.reversals_minor) IS DISTINCT FROM (coalesce(l.sales, 0), coalesce(l.sales_minor, 0), coalesce(l.refunds, 0),
        coalesce(l.refunds_minor, 0), coalesce(l.reversals, 0), coalesce(l.reversals_minor, 0)))
    OR (w.file_id IS NOT NULL AND (f.sales_count < coalesce(l.sales, 0) OR f.sales_minor < coalesce(l.sales_minor, 0)
        OR f.refunds_count < coalesce(l.refunds, 0) OR f.refunds_minor < coalesce(l.refunds_minor, 0)
        OR f.reversals_count < coalesce(l.reversals, 0) OR f.reversals_minor < coalesce(l.reversals_minor, 0)
        OR f.sales_count + f.refunds_count + f.reversals_count <> f.lines))
LIMIT $1;

-- name: stray_clearing_rows
SELECT r.relation, r.key, 'there is no such file' AS sentence
FROM (
    SELECT 'clearing_line' AS relation, file_id, file_id || '/' || line AS key FROM nfc.clearing_line
    UNION ALL
    SELECT 'clearing_line_wrong', file_id, file_id || '/' || record FROM nfc.clearing_line_wrong
    UNION ALL
    SELECT 'clearing_sale', file_id, reference FROM nfc.clearing_sale
) AS r
LEFT JOIN nfc.clearing_file AS f ON f.file_id = r.file_id
WHERE f.file_id IS NULL
UNION ALL
SELECT 'clearing_line_wrong', w.file_id || '/' || w.record, 'no finding tells of it'
FROM nfc.clearing_line_wrong AS w
LEFT JOIN nfc.clearing_finding AS d ON d.kind = 'line_unreadable' AND d.file_id = w.file_id AND d.line = w.record - 1
    AND starts_with(d.detail, w.code) AND d.detail LIKE '%position ' || w.place
WHERE d.finding_id IS NULL
UNION ALL
SELECT 'clearing_total', t.day || '/' || t.figure, 'the day was never compared'
FROM nfc.clearing_total AS t LEFT JOIN nfc.clearing_day AS d ON d.day = t.day
WHERE d.day IS NULL
UNION ALL
SELECT 'clearing_finding_note', encode(uuid_send(n.finding_id), 'hex'), 'there is no such finding'
FROM nfc.clearing_finding_note AS n LEFT JOIN nfc.clearing_finding AS d ON d.finding_id = n.finding_id
WHERE d.finding_id IS NULL
LIMIT $1;

-- name: broken_clearing_lines
-- A line that moved something is a sale, or gives one back; what it did not move is a finding.
SELECT 'clearing_line' AS relation, l.file_id || '/' || l.line AS key,
    CASE WHEN a.authorization_id IS NULL AND l.authorization_id IS NOT NULL THEN 'it names an authorization that does not exist'
        WHEN l.outcome IN ('matched', 'lower', 'higher', 'unauthorized', 'expired', 'not_approved') AND s.reference IS NULL
            THEN format('it is %s, and no sale of %s came of it', l.outcome, l.amount_minor)
        WHEN f.finding_id IS NULL AND l.outcome NOT IN ('matched', 'lower', 'refunded', 'reversed')
            THEN format('it is %s, and no finding of it tells so', l.outcome)
        ELSE format('it is %s over %s, and moved %s', l.outcome, l.amount_minor, l.moved_minor) END AS sentence
FROM nfc.clearing_line AS l
LEFT JOIN nfc.id_authorization AS a ON a.authorization_id = l.authorization_id
LEFT JOIN nfc.clearing_sale AS s ON s.reference = l.reference AND s.file_id = l.file_id AND s.line = l.line
    AND s.card = l.card AND s.merchant = l.merchant AND s.amount_minor = l.amount_minor
LEFT JOIN nfc.clearing_finding AS f ON f.kind = l.outcome AND f.about = l.file_id || '#' || l.line AND f.file_id = l.file_id
    AND f.line = l.line AND f.theirs_minor = l.amount_minor AND f.authorization_id IS NOT DISTINCT FROM l.authorization_id
WHERE (l.authorization_id IS NOT NULL AND a.authorization_id IS NULL)
    OR l.moved_minor > l.amount_minor OR (l.outcome IS NULL AND l.moved_minor > 0)
    OR ((l.kind = 'S' AND l.outcome IN ('matched', 'lower', 'higher', 'unauthorized', 'expired', 'not_approved'))
        <> (s.reference IS NOT NULL))
    OR (s.reference IS NOT NULL AND (l.moved_minor <> l.amount_minor OR l.authorization_id IS DISTINCT FROM s.borne_by[1]))
    OR (l.kind = 'S' AND s.reference IS NULL AND l.moved_minor > 0)
    OR (l.kind <> 'S' AND l.moved_minor > 0
        AND l.outcome NOT IN ('refunded', 'refund_above', 'reversed', 'reversal_differs'))
    OR (l.outcome IN ('refunded', 'reversed') AND l.moved_minor <> l.amount_minor)
    OR (f.finding_id IS NULL AND l.outcome NOT IN ('matched', 'lower', 'refunded', 'reversed'))
    OR l.outcome NOT IN ('matched', 'lower', 'higher', 'unauthorized', 'expired', 'not_approved', 'duplicate',
        'cleared_before', 'reversed_before', 'wrong_card', 'wrong_approval_code', 'wrong_currency', 'unknown_card',
        'implausible', 'refunded', 'refund_above', 'refund_without_sale', 'refund_of_uncleared', 'reversed',
        'reversal_differs', 'reversal_without_sale')
    OR (s.reference IS NOT NULL AND a.kind <> 'clearing'
        AND (lpad(a.acquirer, 11, '0'), a.rrn) IS DISTINCT FROM (lpad(l.acquirer, 11, '0'), l.rrn))
LIMIT $1;

-- name: broken_sales
-- What bears a sale is what of it was not given back; of what the network itself reversed since, less.
WITH bearer AS (
    SELECT s.reference, a.authorization_id, a.stands_minor, true AS named
    FROM nfc.clearing_sale AS s CROSS JOIN LATERAL unnest(s.borne_by) AS o (authorization_id)
    JOIN nfc.id_authorization AS a ON a.authorization_id = o.authorization_id
    UNION ALL
    SELECT s.reference, a.authorization_id, a.stands_minor, false
    FROM nfc.clearing_sale AS s CROSS JOIN LATERAL unnest(s.borne_by) AS o (authorization_id)
    JOIN nfc.id_authorization AS a ON a.message_key = 'clr-' || encode(uuid_send(o.authorization_id), 'hex')
)
SELECT 'clearing_sale' AS relation, t.reference AS key,
    CASE WHEN t.line IS NULL THEN 'no line made it'
        WHEN t.bearers < t.named THEN 'what bears it is not there'
        ELSE format('it is over %s of which %s were given back, and %s of it stand', t.amount_minor, t.back, t.stands) END
        AS sentence
FROM (
    SELECT s.reference, s.amount_minor, cardinality(s.borne_by) AS named, l.line, coalesce(b.bearers, 0) AS bearers,
        coalesce(b.stands, 0) AS stands, coalesce(b.back, 0) AS back, coalesce(b.reversed, false) AS reversed
    FROM nfc.clearing_sale AS s
    LEFT JOIN nfc.clearing_line AS l ON l.reference = s.reference AND l.file_id = s.file_id AND l.line = s.line AND l.kind = 'S'
    LEFT JOIN (
        SELECT e.reference, count(*) FILTER (WHERE e.named) AS bearers, sum(e.stands_minor) AS stands,
            coalesce(sum(g.moved_minor), 0) AS back, bool_or(r.authorization_id IS NOT NULL) AS reversed
        FROM bearer AS e
        LEFT JOIN (
            SELECT authorization_id, sum(moved_minor) AS moved_minor FROM nfc.clearing_line
            WHERE kind IN ('R', 'V') AND moved_minor > 0 GROUP BY authorization_id
        ) AS g ON g.authorization_id = e.authorization_id
        LEFT JOIN (
            SELECT DISTINCT authorization_id FROM nfc.id_reversal WHERE response = '00'
        ) AS r ON r.authorization_id = e.authorization_id
        GROUP BY e.reference
    ) AS b ON b.reference = s.reference
) AS t
WHERE t.line IS NULL OR t.bearers < t.named OR t.stands > t.amount_minor - t.back
    OR (t.stands <> t.amount_minor - t.back AND NOT t.reversed)
LIMIT $1;

-- name: cleared_without_sale
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    'it was cleared, and bears no sale of any file' AS sentence
FROM nfc.id_authorization AS a
LEFT JOIN (
    SELECT DISTINCT o.authorization_id FROM nfc.clearing_sale AS s CROSS JOIN LATERAL unnest(s.borne_by) AS o (authorization_id)
) AS s ON s.authorization_id = a.authorization_id
LEFT JOIN (
    SELECT DISTINCT 'clr-' || encode(uuid_send(o.authorization_id), 'hex') AS message_key
    FROM nfc.clearing_sale AS s CROSS JOIN LATERAL unnest(s.borne_by) AS o (authorization_id)
) AS m ON m.message_key = a.message_key
LEFT JOIN (
    SELECT DISTINCT rrn, lpad(acquirer, 11, '0') AS acquirer FROM nfc.clearing_line WHERE kind = 'R'
) AS l ON l.rrn = a.rrn AND l.acquirer = lpad(a.acquirer, 11, '0')
WHERE (a.state = 'CLEARED' OR a.kind = 'clearing') AND s.authorization_id IS NULL
    AND NOT (a.kind = 'clearing' AND m.message_key IS NOT NULL) AND NOT (a.kind = 'refund' AND l.rrn IS NOT NULL)
LIMIT $1;

-- name: forced_against_lines
-- What a line made says of itself what the line said.
SELECT 'id_authorization' AS relation, 'ath_' || encode(uuid_send(a.authorization_id), 'hex') AS key,
    'it was made for a line that speaks of another card, acquirer, shop or currency' AS sentence
FROM nfc.clearing_sale AS s CROSS JOIN LATERAL unnest(s.borne_by) AS o (authorization_id)
JOIN nfc.id_authorization AS a ON a.authorization_id = o.authorization_id
JOIN nfc.clearing_line AS l ON l.file_id = s.file_id AND l.line = s.line
LEFT JOIN nfc.card AS c ON c.card_id = a.card_id
WHERE a.kind = 'clearing' AND (a.acquirer, a.rrn, a.merchant, a.mcc, a.currency, a.approval_code, c.reference)
    IS DISTINCT FROM (l.acquirer, l.rrn, l.merchant, l.mcc, l.currency, l.approval_code, l.card)
LIMIT $1;

-- name: broken_clearing_findings
SELECT 'clearing_finding' AS relation, coalesce(e.finding_id, 'cfd_' || encode(uuid_send(f.finding_id), 'hex')) AS key,
    CASE WHEN f.finding_id IS NULL THEN 'an event tells of it, and it is not there'
        WHEN e.finding_id IS NULL THEN 'no event tells of it'
        WHEN e.last ->> 'state' <> f.state THEN format('it is %s, its last event says %s', f.state, e.last ->> 'state')
        WHEN f.file_id IS NOT NULL AND d.file_id IS NULL THEN 'it is of a file that is not there'
        WHEN f.state = 'CLOSED' AND NOT coalesce(n.closed, false) THEN 'it is closed, and nobody has said why'
        ELSE 'its event or its line tells of it otherwise' END AS sentence
FROM nfc.clearing_finding AS f
FULL JOIN (
    SELECT t.event ->> 'finding_id' AS finding_id,
        (array_agg(t.event ORDER BY o.recorded_at DESC, o.outbox_id DESC))[1] AS last,
        array_agg((t.event ->> 'occurred_at')::timestamptz) FILTER (WHERE t.event ->> 'state' = 'OPEN') AS opened
    FROM nfc.outbox AS o CROSS JOIN LATERAL jsonb_array_elements(convert_from(o.payload, 'UTF8')::jsonb) AS t (event)
    WHERE o.topic = 'nfc.clearing' AND t.event ->> 'type' = 'nfc.clearing_finding' GROUP BY t.event ->> 'finding_id'
) AS e ON e.finding_id = 'cfd_' || encode(uuid_send(f.finding_id), 'hex')
LEFT JOIN nfc.clearing_file AS d ON d.file_id = f.file_id
LEFT JOIN nfc.clearing_line AS l ON l.file_id = f.file_id AND l.line = f.line AND l.outcome = f.kind
LEFT JOIN (
    SELECT finding_id, bool_or(closes) AS closed, array_agg(noted_by) FILTER (WHERE closes) AS closers
    FROM nfc.clearing_finding_note GROUP BY finding_id
) AS n ON n.finding_id = f.finding_id
WHERE f.finding_id IS NULL OR e.finding_id IS NULL OR e.last ->> 'state' <> f.state
    OR (e.last ->> 'kind', e.last ->> 'about', e.last ->> 'customer_id', (e.last ->> 'day')::date)
        IS DISTINCT FROM (f.kind, f.about, f.customer_id, f.day)
    OR e.last ->> 'authorization_id' IS DISTINCT FROM 'ath_' || encode(uuid_send(f.authorization_id), 'hex')
    OR (f.file_id IS NOT NULL AND d.file_id IS NULL)
    OR (f.line IS NOT NULL AND f.kind <> 'line_unreadable' AND (l.line IS NULL
        OR (e.last ->> 'ours_minor')::bigint <> f.ours_minor OR (e.last ->> 'theirs_minor')::bigint <> f.theirs_minor))
    OR f.found_at <> ALL (e.opened)
    OR (f.state = 'CLOSED' AND (NOT coalesce(n.closed, false) OR f.closed_by <> ALL (n.closers)
        OR f.closed_at <> (e.last ->> 'occurred_at')::timestamptz))
LIMIT $1;

-- name: broken_days
SELECT 'clearing_day' AS relation, d.day::text AS key,
    CASE WHEN d.agrees THEN 'it agrees, and some of its figures do not' ELSE 'it does not agree, and all of its figures do' END
        AS sentence
FROM nfc.clearing_day AS d
LEFT JOIN (
    SELECT day, bool_and((ours_count, ours_minor) = (theirs_count, theirs_minor)) AS agrees FROM nfc.clearing_total GROUP BY day
) AS t ON t.day = d.day
WHERE d.agrees <> coalesce(t.agrees, true)
LIMIT $1;

-- name: findings
SELECT finding_id, kind, about FROM nfc.clearing_finding;

-- name: notes
SELECT finding_id, note_id, note, noted_by, closes FROM nfc.clearing_finding_note;

-- name: whole_files
-- Those of which every line could be read.
SELECT f.file_id, f.sequence, f.day, f.sha256, f.lines, f.sales_count, f.sales_minor, f.refunds_count, f.refunds_minor,
    f.reversals_count, f.reversals_minor
FROM nfc.clearing_file AS f
WHERE f.state <> 'REFUSED' AND NOT EXISTS (SELECT 1 FROM nfc.clearing_line_wrong AS w WHERE w.file_id = f.file_id)
ORDER BY f.file_id;

-- name: lines_of_file
SELECT line, kind, card, amount_minor, currency, authorized_on, approval_code, rrn, merchant, mcc, acquirer, reference,
    processed_on
FROM nfc.clearing_line WHERE file_id = $1 ORDER BY line;

-- name: figures
SELECT d.day, array_remove(array_agg(t.figure), NULL) AS figures
FROM nfc.clearing_day AS d LEFT JOIN nfc.clearing_total AS t ON t.day = d.day GROUP BY d.day;
