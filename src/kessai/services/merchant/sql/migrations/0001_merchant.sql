-- Companies (事業者) as they are now; how they came to be so is in `change`.
-- shard: company_id
CREATE TABLE company (
    company_id text        NOT NULL,
    profile    text        NOT NULL,
    version    bigint      NOT NULL CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (company_id)
) WITH (fillfactor = 80);
COMMENT ON COLUMN company.profile IS 'JSON: CompanyProfile';

-- Merchants (加盟店) as they are now. The version guards every change and tells whether what is remembered still holds.
-- shard: merchant_id
CREATE TABLE merchant (
    merchant_id text        NOT NULL,
    company_id  text        NOT NULL,
    name        text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('company', 'shop', 'online')),
    state       text        NOT NULL CHECK (state IN ('applied', 'screened', 'active', 'suspended', 'closed')),
    version     bigint      NOT NULL CHECK (version >= 1),
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (merchant_id)
) WITH (fillfactor = 80);
CREATE INDEX merchants_of_company ON merchant (company_id, merchant_id);
CREATE INDEX merchants_by_state ON merchant (state, merchant_id);

-- Everything that was ever changed of a merchant or company: its history, and what holds when. Of what is valid at an
-- instant, the row with the latest valid_from holds; of several with the same one, that of the highest version.
-- shard: subject_id
CREATE TABLE change (
    subject_id  text        NOT NULL,
    version     bigint      NOT NULL CHECK (version >= 1),
    change_id   uuid        NOT NULL,
    aspect      text        NOT NULL CHECK (aspect IN ('company', 'profile', 'state', 'contract', 'parent', 'children',
                                'bank_account')),
    valid_from  timestamptz NOT NULL,
    valid_until timestamptz,
    content     text        NOT NULL,
    parent_id   text,
    reason      text        NOT NULL,
    changed_by  text        NOT NULL,
    approval_id text,
    approved_by text,
    digest      bytea       NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (subject_id, version),
    CONSTRAINT never_from_the_past CHECK (valid_from >= recorded_at),
    CHECK (valid_until > valid_from),
    CHECK (valid_until IS NULL OR aspect = 'contract'),
    CHECK (parent_id IS NULL OR (aspect = 'parent' AND parent_id <> subject_id)),
    CHECK ((approval_id IS NULL) = (approved_by IS NULL))
);
COMMENT ON COLUMN change.content IS 'JSON: what it is from valid_from on';
COMMENT ON COLUMN change.parent_id IS 'of a change of who collects: whom, as in content';
COMMENT ON COLUMN change.digest IS 'SHA-256 of the request, to tell a repetition from a reused key';
CREATE INDEX change_of_parent ON change (parent_id, subject_id) WHERE parent_id IS NOT NULL;

-- The merchant master (加盟店マスタ): what an id of a payment method means.
-- shard: methods_id
CREATE TABLE master_head (
    methods_id     text   NOT NULL,
    payment_method text   NOT NULL,
    version        bigint NOT NULL CHECK (version >= 0),
    PRIMARY KEY (methods_id, payment_method)
) WITH (fillfactor = 80);
COMMENT ON TABLE master_head IS 'guards the mappings of an id: whoever changes one raises the version first';

-- shard: methods_id
CREATE TABLE master_id (
    methods_id     text        NOT NULL,
    payment_method text        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence >= 1),
    merchant_id    text        NOT NULL,
    valid_from     timestamptz NOT NULL,
    valid_until    timestamptz,
    import_id      uuid,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (methods_id, payment_method, sequence),
    CHECK (valid_from >= recorded_at),
    CHECK (valid_until >= valid_from)
) WITH (fillfactor = 80);
COMMENT ON COLUMN master_id.valid_until IS 'not included; equal to valid_from: ended before it began';
CREATE INDEX master_ids_of_merchant ON master_id (merchant_id, payment_method, methods_id, sequence);

-- shard: methods_id
CREATE TABLE master_step (
    methods_id     text        NOT NULL,
    payment_method text        NOT NULL,
    sequence       bigint      NOT NULL CHECK (sequence >= 1),
    change_id      uuid        NOT NULL,
    kind           text        NOT NULL CHECK (kind IN ('mapped', 'ended')),
    merchant_id    text        NOT NULL,
    valid_from     timestamptz NOT NULL,
    valid_until    timestamptz,
    reason         text        NOT NULL,
    changed_by     text        NOT NULL,
    approval_id    text,
    approved_by    text,
    import_id      uuid,
    digest         bytea       NOT NULL,
    recorded_at    timestamptz NOT NULL,
    PRIMARY KEY (methods_id, payment_method, sequence),
    CHECK ((approval_id IS NULL) = (approved_by IS NULL))
);

-- shard: import_id
CREATE TABLE master_import (
    import_id   uuid        NOT NULL,
    mode        text        NOT NULL CHECK (mode IN ('all_or_nothing', 'take_what_is_good')),
    lines       bigint      NOT NULL CHECK (lines >= 0),
    taken       bigint      NOT NULL CHECK (taken >= 0),
    unchanged   bigint      NOT NULL CHECK (unchanged >= 0),
    wrong       bigint      NOT NULL CHECK (wrong >= 0),
    reason      text        NOT NULL,
    imported_by text        NOT NULL,
    approval_id text,
    approved_by text,
    digest      bytea       NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (import_id),
    CHECK (taken + unchanged + wrong <= lines)
);
CREATE INDEX master_imports_by_time ON master_import (recorded_at, import_id);

-- shard: import_id
CREATE TABLE master_import_error (
    import_id uuid   NOT NULL,
    line      bigint NOT NULL,
    field     text,
    code      text   NOT NULL,
    detail    text   NOT NULL,
    PRIMARY KEY (import_id, line)
);

-- shard: methods_id
CREATE TABLE master_conflict (
    methods_id         text        NOT NULL,
    payment_method     text        NOT NULL,
    import_id          uuid        NOT NULL,
    line               bigint      NOT NULL,
    wanted_merchant_id text        NOT NULL,
    wanted_from        timestamptz NOT NULL,
    wanted_until       timestamptz,
    found_at           timestamptz NOT NULL,
    dismissed_at       timestamptz,
    dismissed_by       text,
    dismissed_why      text,
    PRIMARY KEY (methods_id, payment_method, import_id, line),
    CHECK ((dismissed_at IS NULL) = (dismissed_by IS NULL) AND (dismissed_at IS NULL) = (dismissed_why IS NULL))
) WITH (fillfactor = 80);

GRANT SELECT, INSERT ON company, merchant, change, master_head, master_id, master_step, master_import,
    master_import_error, master_conflict TO "{role}";
GRANT UPDATE (profile, version, updated_at) ON company TO "{role}";
GRANT UPDATE (company_id, name, kind, state, version, updated_at) ON merchant TO "{role}";
GRANT UPDATE (version) ON master_head TO "{role}";
GRANT UPDATE (valid_until) ON master_id TO "{role}";
GRANT UPDATE (dismissed_at, dismissed_by, dismissed_why) ON master_conflict TO "{role}";
