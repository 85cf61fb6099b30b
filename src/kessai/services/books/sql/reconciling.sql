-- Reconciliation: the books beside what another service told. `staged_record` has the other side of one run.

-- name: insert_payment_steps
INSERT INTO books.payment_step (payment_id, version, kind, action, state, asset, amount_minor, fee_minor, captured_minor,
    refunded_minor, payer_id, payee_id, beneficiary_id, exchange_id, refund_id, processing_id, occurred_at, recorded_at)
SELECT u.payment_id, u.version, u.kind, u.action, u.state, u.asset, u.amount_minor, u.fee_minor, u.captured_minor,
    u.refunded_minor, u.payer_id, u.payee_id, u.beneficiary_id, u.exchange_id, u.refund_id, u.processing_id,
    u.occurred_at, u.recorded_at
FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[],
    $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
    $17::timestamptz[], $18::timestamptz[])
    AS u (payment_id, version, kind, action, state, asset, amount_minor, fee_minor, captured_minor, refunded_minor,
        payer_id, payee_id, beneficiary_id, exchange_id, refund_id, processing_id, occurred_at, recorded_at)
ON CONFLICT (payment_id, version) DO NOTHING;

-- name: forget_staged
DELETE FROM books.staged_record WHERE run_id = $1;

-- name: forget_stale
-- What runs left behind that never came to their end: a run's line 0 says when it began.
DELETE FROM books.staged_record WHERE run_id IN (
    SELECT run_id FROM books.staged_record WHERE line = 0 AND recorded_at < $1);

-- name: type_figures
-- What is booked per account type through an instant: the running totals, less what happened later.
SELECT t.account_type, t.asset, sum(t.amount) AS amount
FROM (
    SELECT account_type, asset, sum(credit - debit) AS amount FROM books.day_total
    WHERE account_type <> '' GROUP BY account_type, asset
    UNION ALL
    SELECT e.account_type, e.asset, sum(e.amount) FROM books.journal AS j
    JOIN books.entry AS e ON e.journal_id = j.journal_id
    WHERE j.booked_on >= $2 AND j.occurred_at > $1 AND e.account_type <> '' GROUP BY e.account_type, e.asset
) AS t
GROUP BY t.account_type, t.asset ORDER BY t.account_type, t.asset;

-- name: ledger_differences
-- Per exchange, instant and account type: what the ledger gave and took, and what is booked. Both ways.
WITH theirs AS (
    SELECT s.subject AS exchange_id, s.recorded_at, coalesce(a.account_type, '?') AS account_type,
        coalesce(sum(s.amount) FILTER (WHERE s.amount > 0), 0) AS credit,
        coalesce(-sum(s.amount) FILTER (WHERE s.amount < 0), 0) AS debit
    FROM books.staged_record AS s LEFT JOIN books.ledger_account AS a ON a.account_id = s.account_id
    WHERE s.run_id = $1 AND s.amount <> 0
    GROUP BY s.subject, s.recorded_at, coalesce(a.account_type, '?')
), ours AS (
    SELECT coalesce(j.exchange_id, j.event_id) AS exchange_id, j.occurred_at AS recorded_at, e.account_type,
        coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0), 0) AS credit,
        coalesce(sum(e.amount) FILTER (WHERE e.amount > 0), 0) AS debit
    FROM books.journal AS j JOIN books.entry AS e ON e.journal_id = j.journal_id
    WHERE j.booked_on >= $3 AND j.occurred_at >= $2 AND j.occurred_at <= $4 AND e.account_type <> ''
    GROUP BY coalesce(j.exchange_id, j.event_id), j.occurred_at, e.account_type
), standing AS (
    SELECT convert_from(payload, 'UTF8')::jsonb ->> 'exchange_id' AS exchange_id, min(reason) AS reason
    FROM books.unposted_event WHERE posted_at IS NULL AND source = 'ledger'
    GROUP BY convert_from(payload, 'UTF8')::jsonb ->> 'exchange_id'
), d AS MATERIALIZED (
    SELECT coalesce(t.exchange_id, o.exchange_id) AS exchange_id, coalesce(t.recorded_at, o.recorded_at) AS recorded_at,
        coalesce(t.account_type, o.account_type) AS account_type,
        CASE WHEN o.exchange_id IS NULL THEN 'MISSING' WHEN t.exchange_id IS NULL THEN 'SURPLUS' ELSE 'DIFFERS' END
            AS kind,
        CASE WHEN o.exchange_id IS NULL AND s.exchange_id IS NOT NULL THEN 'EXPLAINED'
            WHEN o.exchange_id IS NULL AND t.recorded_at > $5 THEN 'IN_FLIGHT' ELSE 'OPEN' END AS state,
        coalesce(t.credit, 0) AS their_credit, coalesce(t.debit, 0) AS their_debit,
        coalesce(o.credit, 0) AS our_credit, coalesce(o.debit, 0) AS our_debit, s.reason
    FROM theirs AS t
    FULL JOIN ours AS o ON o.exchange_id = t.exchange_id AND o.recorded_at = t.recorded_at
        AND o.account_type = t.account_type
    LEFT JOIN standing AS s ON s.exchange_id = t.exchange_id
    WHERE t.credit IS DISTINCT FROM o.credit OR t.debit IS DISTINCT FROM o.debit
)
SELECT 0::bigint AS number, count(*) AS records, state, account_type, '' AS kind, '' AS exchange_id,
    min(recorded_at) AS recorded_at, sum(their_credit) AS their_credit, sum(their_debit) AS their_debit,
    sum(our_credit) AS our_credit, sum(our_debit) AS our_debit, NULL AS reason
FROM d GROUP BY state, account_type
UNION ALL
SELECT n.number, 1, n.state, n.account_type, n.kind, n.exchange_id, n.recorded_at, n.their_credit, n.their_debit,
    n.our_credit, n.our_debit, n.reason
FROM (
    SELECT row_number() OVER (PARTITION BY state ORDER BY recorded_at, exchange_id, account_type) AS number, state,
        account_type, kind, exchange_id, recorded_at, their_credit, their_debit, our_credit, our_debit, reason
    FROM d
) AS n
WHERE n.number <= $6
ORDER BY number, state, recorded_at, exchange_id, account_type;

-- name: statement_figures
-- What stands on statements per account type through an instant ($1): all lines where all are compared ($2 is null);
-- else what the last day that was made before $2 closed with, and the lines since, as the records of that time are
-- compared one by one too.
WITH made AS (
    SELECT max(book_on) AS book_on FROM books.statutory_day WHERE book_on < $2::date
)
SELECT f.account_type, f.asset, sum(f.amount) AS amount FROM (
    SELECT d.account_type, d.asset, d.closing AS amount
    FROM books.book_day AS d JOIN made ON made.book_on = d.book_on
    UNION ALL
    SELECT l.account_type, l.asset, sum(l.amount) FROM books.statement_line AS l
    WHERE l.book_on > coalesce((SELECT made.book_on FROM made), '-infinity') AND l.occurred_at <= $1
    GROUP BY l.account_type, l.asset
) AS f
GROUP BY f.account_type, f.asset ORDER BY f.account_type, f.asset;

-- name: statement_differences
-- Per account and sequence: the ledger's entry and its balance, and the lines of the customer's statement. Both ways.
WITH theirs AS (
    SELECT s.account_id, s.sequence, s.amount, s.balance, s.subject AS exchange_id, s.recorded_at, a.account_type
    FROM books.staged_record AS s LEFT JOIN books.ledger_account AS a ON a.account_id = s.account_id
    WHERE s.run_id = $1 AND s.amount <> 0 AND s.balance IS NOT NULL
        AND (a.account_type IS NULL OR a.account_type = ANY ($7::text[]))
), ours AS (
    SELECT l.account_id, l.sequence, sum(l.amount) AS amount, (array_agg(l.balance ORDER BY l.part DESC))[1] AS balance,
        min(l.exchange_id) AS exchange_id, min(l.occurred_at) AS occurred_at, min(l.account_type) AS account_type
    FROM books.statement_line AS l
    WHERE l.book_on >= $3 AND l.occurred_at >= $2 AND l.occurred_at <= $4
    GROUP BY l.account_id, l.sequence
), d AS MATERIALIZED (
    SELECT coalesce(t.account_id, o.account_id) AS account_id, coalesce(t.sequence, o.sequence) AS sequence,
        coalesce(t.recorded_at, o.occurred_at) AS recorded_at,
        coalesce(t.account_type, o.account_type, '?') AS account_type,
        coalesce(t.exchange_id, o.exchange_id) AS exchange_id,
        CASE WHEN o.account_id IS NULL THEN 'MISSING' WHEN t.account_id IS NULL THEN 'SURPLUS' ELSE 'DIFFERS' END
            AS kind,
        CASE WHEN o.account_id IS NULL AND t.recorded_at > $5 THEN 'IN_FLIGHT' ELSE 'OPEN' END AS state,
        coalesce(t.amount, 0) AS their_amount, coalesce(o.amount, 0) AS our_amount, t.balance AS their_balance,
        o.balance AS our_balance
    FROM theirs AS t FULL JOIN ours AS o ON o.account_id = t.account_id AND o.sequence = t.sequence
    WHERE t.amount IS DISTINCT FROM o.amount OR t.balance IS DISTINCT FROM o.balance
        OR t.recorded_at IS DISTINCT FROM o.occurred_at OR t.exchange_id IS DISTINCT FROM o.exchange_id
        OR t.account_type IS DISTINCT FROM o.account_type
)
SELECT 0::bigint AS number, count(*) AS records, state, account_type, '' AS kind, NULL::uuid AS account_id,
    0::bigint AS sequence, '' AS exchange_id, min(recorded_at) AS recorded_at, sum(their_amount) AS their_amount,
    sum(our_amount) AS our_amount, NULL::bigint AS their_balance, NULL::bigint AS our_balance
FROM d GROUP BY state, account_type
UNION ALL
SELECT n.number, 1, n.state, n.account_type, n.kind, n.account_id, n.sequence, n.exchange_id, n.recorded_at,
    n.their_amount, n.our_amount, n.their_balance, n.our_balance
FROM (
    SELECT row_number() OVER (PARTITION BY state ORDER BY recorded_at, account_id, sequence) AS number, state,
        account_type, kind, account_id, sequence, exchange_id, recorded_at, their_amount, our_amount, their_balance,
        our_balance
    FROM d
) AS n
WHERE n.number <= $6
ORDER BY number, state, recorded_at, account_id, sequence;

-- name: broken_days
-- Days whose figures are not what the ledger told of the accounts, or that do not follow from the day before.
SELECT d.book_on, d.account_type, d.asset, d.closing, d.told, d.differing FROM books.book_day AS d
WHERE d.closing <> d.told OR d.differing <> 0
ORDER BY d.book_on, d.account_type LIMIT $1;

-- name: scope_of_processings
-- The processings that something was recorded of between two instants, after the last one of the page before.
SELECT p.processing_id FROM (
    SELECT processing_id FROM books.payment_step WHERE recorded_at >= $1 AND recorded_at <= $3
    UNION
    SELECT processing_id FROM books.journal
    WHERE booked_on >= $2 AND occurred_at >= $1 AND occurred_at <= $3 AND processing_id IS NOT NULL
) AS p
WHERE p.processing_id > $4 ORDER BY p.processing_id LIMIT $5;

-- name: own_payment_differences
-- Each payment as its service has it, and as its last published step has it. Both ways.
WITH theirs AS (
    SELECT s.subject AS payment_id, s.amount AS captured, s.balance AS returned, s.state, s.recorded_at
    FROM books.staged_record AS s WHERE s.run_id = $1 AND s.line > 0
), ours AS (
    SELECT DISTINCT ON (p.payment_id) p.payment_id, p.captured_minor AS captured,
        CASE p.state WHEN 'RETURNED' THEN p.amount_minor ELSE p.refunded_minor END AS returned, p.state, p.asset,
        p.recorded_at
    FROM books.payment_step AS p
    WHERE p.payment_id IN (
        SELECT w.payment_id FROM books.payment_step AS w WHERE w.recorded_at >= $2 AND w.recorded_at <= $3
        UNION ALL SELECT t.payment_id FROM theirs AS t)
    ORDER BY p.payment_id, p.version DESC
), d AS MATERIALIZED (
    SELECT coalesce(t.payment_id, o.payment_id) AS subject, coalesce(o.asset, 'JPY') AS asset,
        CASE WHEN o.payment_id IS NULL THEN 'MISSING' WHEN t.payment_id IS NULL THEN 'SURPLUS' ELSE 'DIFFERS' END
            AS kind,
        CASE WHEN greatest(t.recorded_at, o.recorded_at) > $4 THEN 'IN_FLIGHT' ELSE 'OPEN' END AS state,
        coalesce(t.captured - t.returned, 0) AS theirs, coalesce(o.captured - o.returned, 0) AS ours,
        coalesce(t.recorded_at, o.recorded_at) AS recorded_at,
        format('the payment is %s there, its last published step %s', coalesce(t.state, 'not known'),
            coalesce(o.state, 'never came')) AS text
    FROM theirs AS t FULL JOIN ours AS o ON o.payment_id = t.payment_id
    WHERE (t.captured IS DISTINCT FROM o.captured OR t.returned IS DISTINCT FROM o.returned
            OR t.state IS DISTINCT FROM o.state)
        AND NOT (o.payment_id IS NULL AND t.state = 'PENDING' AND t.captured = 0)
)
SELECT n.number, n.records, n.subject, n.asset, n.kind, n.state, n.theirs, n.ours, n.recorded_at, n.text
FROM (
    SELECT row_number() OVER (PARTITION BY state ORDER BY recorded_at, subject) AS number,
        count(*) OVER (PARTITION BY state) AS records, subject, asset, kind, state, theirs, ours, recorded_at, text
    FROM d
) AS n
WHERE n.number <= $5 ORDER BY n.state, n.number;

-- name: booked_payment_differences
-- What each payment says that it moved, by its published steps, and what is booked under its exchange and the reversals
-- of that: for its payee where that is the platform's or a merchant, for the customer otherwise; and its fee.
WITH mine AS (
    SELECT p.payment_id, p.version, p.kind, p.action, p.state, p.asset, p.amount_minor, p.fee_minor, p.captured_minor,
        p.refunded_minor, p.payee_id, p.beneficiary_id, p.exchange_id, p.recorded_at
    FROM books.payment_step AS p
    WHERE p.recorded_at <= $2 AND p.payment_id IN (
        SELECT w.payment_id FROM books.payment_step AS w WHERE w.recorded_at >= $1 AND w.recorded_at <= $2)
), sums AS (
    SELECT payment_id, coalesce(sum(amount_minor) FILTER (WHERE action = 'return'), 0) AS came_back,
        max(amount_minor) FILTER (WHERE action = 'authorize') AS authorized
    FROM mine GROUP BY payment_id
), last AS (
    SELECT DISTINCT ON (payment_id) payment_id, kind, state, asset, captured_minor, refunded_minor, payee_id,
        beneficiary_id, exchange_id, fee_minor, recorded_at
    FROM mine ORDER BY payment_id, version DESC
), expected AS (
    SELECT l.payment_id, l.kind, l.state, l.asset, l.payee_id, l.exchange_id, l.recorded_at,
        CASE WHEN l.beneficiary_id IS NOT NULL AND s.authorized IS NOT NULL
                AND l.state NOT IN ('CAPTURED', 'CANCELED', 'REFUSED', 'EXPIRED', 'RETURNED')
            THEN s.authorized - l.refunded_minor
            ELSE l.captured_minor - l.refunded_minor - s.came_back END AS amount,
        CASE WHEN l.beneficiary_id IS NULL AND l.captured_minor > 0 THEN l.fee_minor ELSE 0 END AS fee
    FROM last AS l JOIN sums AS s ON s.payment_id = l.payment_id
), booked AS (
    SELECT x.payment_id, max(j.occurred_at) AS occurred_at,
        coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND j.action <> 'reversed' AND e.owner = x.payee_id), 0)
            AS given,
        coalesce(sum(e.amount) FILTER (WHERE e.amount > 0 AND j.action = 'reversed' AND e.owner = x.payee_id), 0)
            AS taken_back,
        coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND j.action <> 'reversed' AND e.owner = ''), 0)
            AS given_customer,
        coalesce(sum(e.amount) FILTER (WHERE e.amount > 0 AND j.action = 'reversed' AND e.owner = ''), 0)
            AS taken_back_customer,
        coalesce(-sum(e.amount) FILTER (WHERE e.amount < 0 AND j.action <> 'reversed'
            AND e.owner NOT IN ('', x.payee_id)), 0) AS fee
    FROM expected AS x
    JOIN books.journal AS j ON j.payment_id = x.payment_id AND j.source = 'ledger' AND j.kind = x.kind
    JOIN books.entry AS e ON e.journal_id = j.journal_id AND e.asset = x.asset AND e.account_type <> ''
    WHERE j.occurred_at <= $2 AND (j.exchange_id = x.exchange_id OR j.action = 'reversed')
    GROUP BY x.payment_id
), standing AS (
    SELECT coalesce(convert_from(payload, 'UTF8')::jsonb ->> 'reverses',
        convert_from(payload, 'UTF8')::jsonb ->> 'exchange_id') AS exchange_id, min(reason) AS reason
    FROM books.unposted_event WHERE posted_at IS NULL AND source = 'ledger'
    GROUP BY coalesce(convert_from(payload, 'UTF8')::jsonb ->> 'reverses',
        convert_from(payload, 'UTF8')::jsonb ->> 'exchange_id')
), both_sides AS (
    SELECT x.payment_id, x.asset, x.state, x.amount, x.fee, x.recorded_at, b.occurred_at, s.reason,
        CASE WHEN b.given > 0 THEN b.given - b.taken_back ELSE coalesce(b.given_customer - b.taken_back_customer, 0) END
            AS booked,
        coalesce(b.fee, 0) AS booked_fee
    FROM expected AS x
    LEFT JOIN booked AS b ON b.payment_id = x.payment_id
    LEFT JOIN standing AS s ON s.exchange_id = x.exchange_id
), d AS MATERIALIZED (
    SELECT payment_id AS subject, asset, CASE WHEN occurred_at IS NULL THEN 'MISSING' ELSE 'DIFFERS' END AS kind,
        CASE WHEN reason IS NOT NULL THEN 'EXPLAINED' WHEN greatest(recorded_at, occurred_at) > $3 THEN 'IN_FLIGHT'
            ELSE 'OPEN' END AS state,
        amount AS theirs, booked AS ours, recorded_at,
        CASE WHEN reason IS NOT NULL THEN format('an event of it stands unposted: %s', reason)
            ELSE format('it is %s and moved %s with a fee of %s; booked is %s with a fee of %s', state, amount, fee,
                booked, booked_fee) END AS text
    FROM both_sides WHERE amount <> booked OR fee <> booked_fee
    UNION ALL
    SELECT j.payment_id, 'JPY', 'SURPLUS', CASE WHEN max(j.occurred_at) > $3 THEN 'IN_FLIGHT' ELSE 'OPEN' END, 0,
        count(*), min(j.occurred_at),
        format('%s journals are booked of it, and the payment service published no step', count(*))
    FROM books.journal AS j
    WHERE j.booked_on >= $5 AND j.occurred_at >= $1 AND j.occurred_at <= $2 AND j.source = 'ledger'
        AND j.payment_id ~ '^[a-z]{3}_[0-9a-f]{32}$'
        AND NOT EXISTS (SELECT 1 FROM books.payment_step AS p WHERE p.payment_id = j.payment_id)
    GROUP BY j.payment_id
)
SELECT n.number, n.records, n.subject, n.asset, n.kind, n.state, n.theirs, n.ours, n.recorded_at, n.text
FROM (
    SELECT row_number() OVER (PARTITION BY state ORDER BY recorded_at, subject) AS number,
        count(*) OVER (PARTITION BY state) AS records, subject, asset, kind, state, theirs, ours, recorded_at, text
    FROM d
) AS n
WHERE n.number <= $4 ORDER BY n.state, n.number;

-- name: bank_differences
-- Each transfer and debit as the bank service has it, and what is booked of it on the accounts at the bank. Both ways.
WITH theirs AS (
    SELECT s.subject AS instruction_id, s.amount, s.state, s.recorded_at FROM books.staged_record AS s
    WHERE s.run_id = $1 AND s.line > 0
), ours AS (
    SELECT j.exchange_id AS instruction_id, sum(e.amount) FILTER (WHERE e.account = ANY ($6::text[])) AS amount,
        max(j.occurred_at) AS occurred_at, count(DISTINCT j.journal_id) AS journals
    FROM books.journal AS j JOIN books.entry AS e ON e.journal_id = j.journal_id
    WHERE j.source = 'bank' AND j.exchange_id IN (
        SELECT w.exchange_id FROM books.journal AS w
        WHERE w.source = 'bank' AND w.booked_on >= $5 AND w.occurred_at >= $2 AND w.occurred_at <= $3
        UNION ALL SELECT t.instruction_id FROM theirs AS t)
    GROUP BY j.exchange_id
), standing AS (
    SELECT convert_from(payload, 'UTF8')::jsonb ->> 'instruction_id' AS instruction_id, min(reason) AS reason
    FROM books.unposted_event WHERE posted_at IS NULL AND source = 'bank'
    GROUP BY convert_from(payload, 'UTF8')::jsonb ->> 'instruction_id'
), d AS MATERIALIZED (
    SELECT coalesce(t.instruction_id, o.instruction_id) AS subject, 'JPY' AS asset,
        CASE WHEN o.instruction_id IS NULL THEN 'MISSING' WHEN t.instruction_id IS NULL THEN 'SURPLUS'
            ELSE 'DIFFERS' END AS kind,
        CASE WHEN s.reason IS NOT NULL THEN 'EXPLAINED'
            WHEN greatest(t.recorded_at, o.occurred_at) > $4 THEN 'IN_FLIGHT' ELSE 'OPEN' END AS state,
        coalesce(t.amount, 0) AS theirs, coalesce(o.amount, 0) AS ours, coalesce(t.recorded_at, o.occurred_at)
            AS recorded_at,
        format('it is %s there and moved %s; booked is %s', coalesce(t.state, 'not known'), coalesce(t.amount, 0),
            coalesce(o.amount, 0)) || coalesce('; an event of it stands unposted: ' || s.reason, '') AS text
    FROM theirs AS t FULL JOIN ours AS o ON o.instruction_id = t.instruction_id
    LEFT JOIN standing AS s ON s.instruction_id = coalesce(t.instruction_id, o.instruction_id)
    WHERE coalesce(t.amount, 0) <> coalesce(o.amount, 0) OR t.instruction_id IS NULL
)
SELECT n.number, n.records, n.subject, n.asset, n.kind, n.state, n.theirs, n.ours, n.recorded_at, n.text
FROM (
    SELECT row_number() OVER (PARTITION BY state ORDER BY recorded_at, subject) AS number,
        count(*) OVER (PARTITION BY state) AS records, subject, asset, kind, state, theirs, ours, recorded_at, text
    FROM d
) AS n
WHERE n.number <= $7 ORDER BY n.state, n.number;

-- name: bank_figures
-- What is booked of the bank's instructions on the accounts at the bank, of some instructions.
SELECT coalesce(sum(e.amount), 0) AS amount FROM books.staged_record AS s
JOIN books.journal AS j ON j.exchange_id = s.subject AND j.source = 'bank'
JOIN books.entry AS e ON e.journal_id = j.journal_id AND e.account = ANY ($2::text[])
WHERE s.run_id = $1 AND s.line > 0;

-- name: unproved_journals
-- What is booked under processings whose verdict is not a good one.
SELECT count(*) OVER () AS records, s.subject, s.state, s.recorded_at, count(DISTINCT j.journal_id) AS journals, e.asset,
    sum(e.amount) FILTER (WHERE e.amount > 0) AS booked
FROM books.staged_record AS s
JOIN books.journal AS j ON j.processing_id = s.subject
JOIN books.entry AS e ON e.journal_id = j.journal_id
WHERE s.run_id = $1 AND s.line > 0 AND j.occurred_at <= $2
GROUP BY s.subject, s.state, s.recorded_at, e.asset
ORDER BY s.recorded_at, s.subject, e.asset LIMIT $3;

-- name: insert_run
INSERT INTO books.reconciliation (run_id, name, through, since, tolerance_s, started_at, finished_at, compared,
    differences, explained, in_flight, figures)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: insert_differences
INSERT INTO books.reconciliation_difference (run_id, line, kind, state, subject, asset, theirs, ours, at, text,
    finding_id)
SELECT $1, u.line, u.kind, u.state, u.subject, u.asset, u.theirs, u.ours, u.at, u.text, u.finding_id
FROM unnest($2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::numeric[], $8::numeric[],
    $9::timestamptz[], $10::text[], $11::uuid[])
    AS u (line, kind, state, subject, asset, theirs, ours, at, text, finding_id);

-- name: load_run
SELECT run_id, name, through, since, tolerance_s, started_at, finished_at, compared, differences, explained, in_flight,
    figures
FROM books.reconciliation WHERE run_id = $1;

-- name: last_run
SELECT run_id, name, through, since, tolerance_s, started_at, finished_at, compared, differences, explained, in_flight,
    figures
FROM books.reconciliation WHERE name = $1 ORDER BY finished_at DESC, run_id DESC LIMIT 1;

-- name: list_runs
SELECT run_id, name, through, since, tolerance_s, started_at, finished_at, compared, differences, explained, in_flight,
    figures
FROM books.reconciliation
WHERE (finished_at, run_id) < ($2, $3::uuid) AND ($1::text IS NULL OR name = $1)
ORDER BY finished_at DESC, run_id DESC LIMIT $4;

-- name: list_differences
SELECT line, kind, state, subject, asset, theirs, ours, at, text, finding_id FROM books.reconciliation_difference
WHERE run_id = $1 AND line > $2 ORDER BY line LIMIT $3;

-- name: lock_findings
SELECT finding_id, name, kind, subject, asset, theirs, ours, state, version, text, at, opened_at, changed_at, run_id
FROM books.reconciliation_finding WHERE finding_id = ANY ($1::uuid[]) ORDER BY finding_id FOR UPDATE;

-- name: standing_findings
SELECT finding_id, name, kind, subject, asset, theirs, ours, state, version, text, at, opened_at, changed_at, run_id
FROM books.reconciliation_finding
WHERE name = $1 AND state <> 'CLOSED' AND at >= $2 AND at <= $3 ORDER BY finding_id;

-- name: load_findings
SELECT finding_id, name, kind, subject, asset, theirs, ours, state, version, text, at, opened_at, changed_at, run_id
FROM books.reconciliation_finding WHERE finding_id = ANY ($1::uuid[]);

-- name: list_findings
SELECT finding_id, name, kind, subject, asset, theirs, ours, state, version, text, at, opened_at, changed_at, run_id
FROM books.reconciliation_finding
WHERE state = $1 AND (opened_at, finding_id) > ($2, $3::uuid) ORDER BY opened_at, finding_id LIMIT $4;

-- name: write_findings
INSERT INTO books.reconciliation_finding AS f (finding_id, name, kind, subject, asset, theirs, ours, state, version,
    text, at, opened_at, changed_at, run_id)
SELECT u.finding_id, u.name, u.kind, u.subject, u.asset, u.theirs, u.ours, u.state, u.version, u.text, u.at,
    u.opened_at, u.changed_at, u.run_id
FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::numeric[], $7::numeric[], $8::text[],
    $9::int[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::uuid[])
    AS u (finding_id, name, kind, subject, asset, theirs, ours, state, version, text, at, opened_at, changed_at, run_id)
ON CONFLICT (finding_id) DO UPDATE SET kind = excluded.kind, theirs = excluded.theirs, ours = excluded.ours,
    state = excluded.state, version = excluded.version, text = excluded.text, changed_at = excluded.changed_at,
    run_id = excluded.run_id
WHERE f.version = excluded.version - 1
RETURNING f.finding_id;

-- name: insert_finding_steps
INSERT INTO books.reconciliation_finding_step (finding_id, sequence, state, acted_by, reason, recorded_at)
SELECT u.finding_id, u.sequence, u.state, u.acted_by, u.reason, $6
FROM unnest($1::uuid[], $2::int[], $3::text[], $4::text[], $5::text[])
    AS u (finding_id, sequence, state, acted_by, reason);

-- name: finding_steps_of
SELECT finding_id, sequence, state, acted_by, reason, recorded_at FROM books.reconciliation_finding_step
WHERE finding_id = ANY ($1::uuid[]) ORDER BY finding_id, sequence;
