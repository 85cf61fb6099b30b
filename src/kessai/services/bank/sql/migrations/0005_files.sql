-- Files to the bank (総合振込, 口座振替): an instruction of a day waits for the file of that day, and becomes a line.

ALTER TABLE account ADD COLUMN failures int NOT NULL DEFAULT 0 CHECK (failures >= 0);
ALTER TABLE account ADD COLUMN frozen_at timestamptz;

COMMENT ON COLUMN account.failures IS 'instructions in a row that failed because of the account';

ALTER TABLE instruction ADD COLUMN asked_on date;
ALTER TABLE instruction ADD COLUMN transfer_on date;
ALTER TABLE instruction ADD COLUMN file_id uuid;
ALTER TABLE instruction ADD COLUMN file_line int;
ALTER TABLE instruction ADD COLUMN attempt int NOT NULL DEFAULT 0;
ALTER TABLE instruction ADD CONSTRAINT instruction_waits_for_a_day CHECK ((asked_on IS NULL) = (transfer_on IS NULL));
ALTER TABLE instruction ADD CONSTRAINT instruction_is_a_line CHECK (
    (file_id IS NULL) = (file_line IS NULL) AND (file_id IS NULL OR transfer_on IS NOT NULL)
);

COMMENT ON COLUMN instruction.asked_on IS 'the day that the caller named; none: online';
COMMENT ON COLUMN instruction.attempt IS 'how many files it has been in';

CREATE INDEX instruction_waiting ON instruction (kind, transfer_on, instruction_id)
    WHERE transfer_on IS NOT NULL AND file_id IS NULL AND state = 'ACCEPTED';

-- shard: file_id
CREATE TABLE transfer_file (
    file_id          uuid        NOT NULL,
    kind             text        NOT NULL CHECK (kind IN ('transfer', 'debit')),
    transfer_on      date        NOT NULL,
    state            text        NOT NULL CHECK (state IN ('MADE', 'APPROVED', 'SENDING', 'SENT', 'ACCEPTED', 'REFUSED',
        'CLOSED', 'DISCARDED')),
    version          bigint      NOT NULL CHECK (version >= 0),
    lines            int         NOT NULL CHECK (lines BETWEEN 1 AND 999999),
    total_minor      bigint      NOT NULL CHECK (total_minor BETWEEN 1 AND 999999999999),
    open_lines       int         NOT NULL CHECK (open_lines BETWEEN 0 AND lines),
    approvals        int         NOT NULL CHECK (approvals >= 0),
    approvals_needed int         NOT NULL CHECK (approvals_needed >= 0),
    content_sealed   bytea       NOT NULL,
    content_sha256   bytea       NOT NULL CHECK (length(content_sha256) = 32),
    code             text,
    maker            text        NOT NULL,
    made_at          timestamptz NOT NULL,
    sent_at          timestamptz,
    updated_at       timestamptz NOT NULL,
    paid_lines       int         NOT NULL DEFAULT 0,
    paid_minor       bigint      NOT NULL DEFAULT 0,
    unpaid_lines     int         NOT NULL DEFAULT 0,
    unpaid_minor     bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (file_id),
    CHECK (state NOT IN ('APPROVED', 'SENDING', 'SENT', 'ACCEPTED', 'CLOSED') OR approvals >= approvals_needed)
) WITH (fillfactor = 70);

COMMENT ON COLUMN transfer_file.content_sha256 IS 'of the very bytes that the bank gets; it is these that are approved';
COMMENT ON COLUMN transfer_file.paid_lines IS 'of a debit: what the trailer of its result file says';

CREATE INDEX transfer_file_by_day ON transfer_file (transfer_on, file_id);
CREATE INDEX transfer_file_open ON transfer_file (file_id) WHERE state NOT IN ('CLOSED', 'DISCARDED', 'REFUSED');

-- shard: file_id
CREATE TABLE file_step (
    file_id     uuid        NOT NULL,
    sequence    bigint      NOT NULL,
    state       text        NOT NULL,
    code        text,
    caller      text        NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (file_id, sequence)
);

-- shard: file_id
CREATE TABLE file_approval (
    file_id     uuid        NOT NULL,
    approver    text        NOT NULL,
    approved_at timestamptz NOT NULL,
    PRIMARY KEY (file_id, approver)
);

-- shard: file_id
CREATE TABLE file_line (
    file_id         uuid   NOT NULL,
    line            int    NOT NULL CHECK (line >= 1),
    instruction_id  uuid   NOT NULL,
    kind            text   NOT NULL CHECK (kind IN ('transfer', 'debit')),
    customer_code_1 text   NOT NULL CHECK (length(customer_code_1) = 10),
    customer_code_2 text   NOT NULL CHECK (length(customer_code_2) = 10),
    amount_minor    bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9999999999),
    attempt         int    NOT NULL CHECK (attempt >= 1),
    state           text   NOT NULL CHECK (state IN ('MADE', 'APPROVED', 'SENT', 'ACCEPTED', 'REFUSED', 'DONE', 'FAILED',
        'RETURNED', 'RECALLED', 'DISCARDED')),
    failure_code    text,
    booked_on       date,
    recall          text   CHECK (recall IN ('ASKED', 'DONE', 'REFUSED')),
    version         bigint NOT NULL CHECK (version >= 0),
    updated_at      timestamptz NOT NULL,
    PRIMARY KEY (file_id, line),
    CHECK (kind = 'transfer' OR state NOT IN ('RETURNED', 'RECALLED'))
) WITH (fillfactor = 70);

CREATE INDEX file_line_of_instruction ON file_line (instruction_id, kind);
CREATE INDEX file_line_to_recall ON file_line (file_id, line) WHERE recall = 'ASKED';

-- shard: file_id
CREATE TABLE line_step (
    file_id      uuid        NOT NULL,
    line         int         NOT NULL,
    sequence     bigint      NOT NULL,
    state        text        NOT NULL,
    was          text,
    failure_code text,
    recorded_at  timestamptz NOT NULL,
    PRIMARY KEY (file_id, line, sequence)
);

-- What the bank told of files that fits none of our lines, or contradicts it; nothing was changed by it.
-- shard: position
CREATE TABLE unmatched_result (
    position     bigint      NOT NULL,
    part         int         NOT NULL,
    file_id      text        NOT NULL,
    line         int         NOT NULL,
    state        text        NOT NULL,
    code         text,
    amount_minor bigint      NOT NULL,
    reason       text        NOT NULL,
    met_at       timestamptz NOT NULL,
    PRIMARY KEY (position, part)
);

COMMENT ON COLUMN unmatched_result.part IS 'the line within a result file; 0 for an entry of its own';

INSERT INTO feed_cursor (feed, position) VALUES ('files', 0);

-- Our own account, as the bank's statement has it day by day, and as our rows have it.
-- shard: day
CREATE TABLE statement_day (
    day           date        NOT NULL,
    opening_minor bigint      NOT NULL,
    moved_minor   bigint      NOT NULL,
    closing_minor bigint      NOT NULL,
    ours_minor    bigint      NOT NULL,
    lines         int         NOT NULL CHECK (lines >= 0),
    agrees        boolean     NOT NULL,
    imported_at   timestamptz NOT NULL,
    looked_at     timestamptz NOT NULL,
    PRIMARY KEY (day)
);

-- shard: day
CREATE TABLE statement_line (
    day            date   NOT NULL,
    position       bigint NOT NULL,
    bank_id        text   NOT NULL,
    instruction_id uuid,
    kind           text   CHECK (kind IN ('transfer', 'debit')),
    amount_minor   bigint NOT NULL,
    balance_minor  bigint NOT NULL,
    PRIMARY KEY (day, position)
);

COMMENT ON COLUMN statement_line.instruction_id IS 'whose it is; none: nothing of ours';

CREATE INDEX statement_line_of_instruction ON statement_line (instruction_id, kind);

-- shard: day
CREATE TABLE statement_difference (
    day          date        NOT NULL,
    about        text        NOT NULL,
    reason       text        NOT NULL,
    ours_minor   bigint      NOT NULL,
    theirs_minor bigint      NOT NULL,
    found_at     timestamptz NOT NULL,
    resolved_at  timestamptz,
    PRIMARY KEY (day, about)
);

GRANT UPDATE (failures, frozen_at) ON account TO "{role}";
GRANT UPDATE (transfer_on, file_id, file_line, attempt) ON instruction TO "{role}";
GRANT SELECT, INSERT ON transfer_file, file_step, file_approval, file_line, line_step, unmatched_result, statement_day,
    statement_line, statement_difference TO "{role}";
GRANT UPDATE (state, version, open_lines, approvals, content_sealed, code, sent_at, updated_at, paid_lines, paid_minor,
    unpaid_lines, unpaid_minor) ON transfer_file TO "{role}";
GRANT UPDATE (state, failure_code, booked_on, recall, version, updated_at) ON file_line TO "{role}";
GRANT UPDATE (ours_minor, agrees, looked_at) ON statement_day TO "{role}";
GRANT UPDATE (reason, ours_minor, theirs_minor, found_at, resolved_at) ON statement_difference TO "{role}";
