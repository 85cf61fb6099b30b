-- Clearing (売上確定): files, their lines, the sales that they make, and what does not agree.
ALTER TABLE id_authorization DROP CONSTRAINT id_authorization_kind_check;
ALTER TABLE id_authorization ADD CONSTRAINT id_authorization_kind_check
    CHECK (kind IN ('purchase', 'refund', 'advice', 'tombstone', 'clearing'));
ALTER TABLE id_authorization DROP CONSTRAINT id_authorization_work_check;
ALTER TABLE id_authorization ADD CONSTRAINT id_authorization_work_check
    CHECK (work IN ('ask', 'charge', 'capture', 'undo'));
CREATE INDEX id_authorizations_received ON id_authorization (received_at, authorization_id);
CREATE INDEX id_reversals_recorded ON id_reversal (recorded_at, authorization_id, reversal_id);
CREATE INDEX id_authorizations_unborne ON id_authorization (authorization_id)
    WHERE state = 'CLEARED' AND work IS NULL AND captured_minor - refunded_minor <> stands_minor;

-- shard: file_id
CREATE TABLE clearing_file (
    file_id         text        NOT NULL,
    sequence        bigint      NOT NULL CHECK (sequence >= 0),
    day             date        NOT NULL,
    state           text        NOT NULL CHECK (state IN ('REFUSED', 'TAKEN', 'CLEARED')),
    code            text,
    sha256          bytea       NOT NULL,
    lines           bigint      NOT NULL CHECK (lines >= 0),
    sales_count     bigint      NOT NULL,
    sales_minor     bigint      NOT NULL,
    refunds_count   bigint      NOT NULL,
    refunds_minor   bigint      NOT NULL,
    reversals_count bigint      NOT NULL,
    reversals_minor bigint      NOT NULL,
    taken_at        timestamptz NOT NULL,
    cleared_at      timestamptz,
    version         bigint      NOT NULL CHECK (version >= 1),
    PRIMARY KEY (file_id),
    CHECK ((state = 'REFUSED') = (code IS NOT NULL)),
    CHECK ((state = 'CLEARED') = (cleared_at IS NOT NULL))
);
COMMENT ON COLUMN clearing_file.sha256 IS 'of the content: the same file again does nothing';
COMMENT ON COLUMN clearing_file.lines IS 'details by the trailer, unreadable ones among them';
COMMENT ON COLUMN clearing_file.sales_count IS 'by the trailer, like the other sums';
CREATE INDEX clearing_file_of_sequence ON clearing_file (sequence, file_id);
CREATE INDEX clearing_file_of_day ON clearing_file (day, sequence);

-- shard: file_id
CREATE TABLE clearing_line (
    file_id          text        NOT NULL,
    line             bigint      NOT NULL CHECK (line >= 1),
    kind             text        NOT NULL CHECK (kind IN ('S', 'R', 'V')),
    card             text        NOT NULL,
    amount_minor     bigint      NOT NULL CHECK (amount_minor > 0),
    currency         text        NOT NULL,
    authorized_on    date        NOT NULL,
    approval_code    text,
    rrn              text        NOT NULL,
    merchant         text        NOT NULL,
    mcc              text        NOT NULL,
    acquirer         text        NOT NULL,
    reference        text        NOT NULL,
    processed_on     date        NOT NULL,
    outcome          text,
    moved_minor      bigint      NOT NULL CHECK (moved_minor >= 0),
    authorization_id uuid,
    decided_at       timestamptz,
    PRIMARY KEY (file_id, line),
    CHECK ((outcome IS NULL) = (decided_at IS NULL))
);
COMMENT ON COLUMN clearing_line.card IS 'the issuer''s reference of the card';
COMMENT ON COLUMN clearing_line.reference IS 'the acquirer reference: one a sale';
COMMENT ON COLUMN clearing_line.outcome IS 'NULL: it is still to be decided';

-- Lines that could not be read.
-- shard: file_id
CREATE TABLE clearing_line_wrong (
    file_id  text   NOT NULL,
    record   bigint NOT NULL,
    place    bigint NOT NULL,
    code     text   NOT NULL,
    PRIMARY KEY (file_id, record)
);

-- A sale by the acquirer's reference, and what bears it.
-- shard: reference
CREATE TABLE clearing_sale (
    reference    text   NOT NULL,
    file_id      text   NOT NULL,
    line         bigint NOT NULL,
    card         text   NOT NULL,
    merchant     text   NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    borne_by     uuid[] NOT NULL,
    PRIMARY KEY (reference)
);
COMMENT ON COLUMN clearing_sale.borne_by IS 'authorizations, the network''s own first, then what was charged by force';
CREATE INDEX clearing_sales_of_card ON clearing_sale (card, merchant, file_id, line);

-- shard: finding_id
CREATE TABLE clearing_finding (
    finding_id       uuid        NOT NULL,
    kind             text        NOT NULL,
    about            text        NOT NULL,
    state            text        NOT NULL CHECK (state IN ('OPEN', 'CLOSED')),
    file_id          text,
    line             bigint,
    authorization_id uuid,
    customer_id      text,
    day              date        NOT NULL,
    ours_minor       bigint      NOT NULL,
    theirs_minor     bigint      NOT NULL,
    detail           text        NOT NULL,
    remedy           text        CHECK (remedy IN ('let_go')),
    found_at         timestamptz NOT NULL,
    closed_at        timestamptz,
    closed_by        text,
    PRIMARY KEY (finding_id),
    CHECK ((state = 'CLOSED') = (closed_at IS NOT NULL)),
    CHECK ((closed_at IS NULL) = (closed_by IS NULL))
);
COMMENT ON COLUMN clearing_finding.finding_id IS 'derived from kind and about: found again, it is the same';
COMMENT ON COLUMN clearing_finding.remedy IS 'what the repair does about it by itself';
CREATE INDEX clearing_findings_newest ON clearing_finding (found_at, finding_id);
CREATE INDEX clearing_findings_remedied ON clearing_finding (finding_id) WHERE state = 'OPEN' AND remedy IS NOT NULL;

-- shard: finding_id
CREATE TABLE clearing_finding_note (
    finding_id uuid        NOT NULL,
    note_id    uuid        NOT NULL,
    note       text        NOT NULL,
    noted_by   text        NOT NULL,
    noted_at   timestamptz NOT NULL,
    closes     boolean     NOT NULL,
    PRIMARY KEY (finding_id, note_id)
);

-- Days that were reconciled with the processor.
-- shard: day
CREATE TABLE clearing_day (
    day           date        NOT NULL,
    records_after bigint      NOT NULL CHECK (records_after >= 0),
    records_until bigint      NOT NULL CHECK (records_until >= records_after),
    agrees        boolean     NOT NULL,
    looked_at     timestamptz NOT NULL,
    PRIMARY KEY (day)
);
COMMENT ON COLUMN clearing_day.records_after IS 'the processor''s records were read from beyond this one on';

-- shard: day
CREATE TABLE clearing_total (
    day          date   NOT NULL,
    figure       text   NOT NULL,
    ours_count   bigint NOT NULL,
    ours_minor   bigint NOT NULL,
    theirs_count bigint NOT NULL,
    theirs_minor bigint NOT NULL,
    PRIMARY KEY (day, figure)
);

GRANT SELECT, INSERT ON clearing_file, clearing_line, clearing_line_wrong, clearing_sale, clearing_finding,
    clearing_finding_note, clearing_day, clearing_total TO "{role}";
GRANT UPDATE (state, code, sha256, sequence, day, lines, sales_count, sales_minor, refunds_count,
    refunds_minor, reversals_count, reversals_minor, taken_at, cleared_at, version) ON clearing_file TO "{role}";
GRANT UPDATE (outcome, moved_minor, authorization_id, decided_at) ON clearing_line TO "{role}";
GRANT DELETE ON clearing_line_wrong TO "{role}";
GRANT UPDATE (state, closed_at, closed_by, ours_minor, theirs_minor, remedy) ON clearing_finding TO "{role}";
GRANT UPDATE (records_after, records_until, agrees, looked_at) ON clearing_day TO "{role}";
GRANT UPDATE (ours_count, ours_minor, theirs_count, theirs_minor) ON clearing_total TO "{role}";
