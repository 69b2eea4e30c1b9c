CREATE TABLE migration (
    -- What this schema was made of. Without a tenant: it holds nothing of anybody.
    name text PRIMARY KEY,
    -- Of the file's bytes; a released file never changes.
    sha256 bytea NOT NULL CHECK (octet_length(sha256) = 32),
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE master_key (
    -- Append-only, one row: which master key seals the keys of every tenant. Written with the first sealed key.
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    made_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE TABLE tenant (
    tenant_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    -- SHA-256 of the root's public key, as printed in a site's qualification record.
    root_fingerprint bytea NOT NULL CHECK (octet_length(root_fingerprint) = 32),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id)
);

CREATE TABLE site (
    tenant_id uuid NOT NULL,
    site_id uuid NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    -- IANA name; the end of a lot's last day is judged in it.
    zone text NOT NULL CHECK (zone <> ''),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, site_id),
    FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id)
);

CREATE TABLE certificate (
    -- Append-only. Every certificate that the tenant's keys ever signed.
    tenant_id uuid NOT NULL,
    serial uuid NOT NULL,
    subject_type text NOT NULL CHECK (subject_type IN ('tenant_key', 'station', 'person')),
    subject_id text NOT NULL,
    key_use text NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- The frame, byte for byte.
    bytes bytea NOT NULL,
    issued_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, serial),
    UNIQUE (tenant_id, hash),
    FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id)
);
CREATE INDEX certificate_subject ON certificate (tenant_id, subject_type, subject_id);

CREATE TABLE tenant_key (
    -- The tenant's keys in use; rotation replaces the row, the certificates stay.
    tenant_id uuid NOT NULL,
    key_use text NOT NULL CHECK (key_use IN ('root', 'issuer', 'log', 'statement')),
    key_id bytea NOT NULL CHECK (octet_length(key_id) = 16),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    -- Nonce and XChaCha20-Poly1305 of the seed under the master key; the root's is never here.
    sealed_seed bytea CHECK ((key_use = 'root') = (sealed_seed IS NULL)),
    certificate_serial uuid NOT NULL,
    PRIMARY KEY (tenant_id, key_use),
    FOREIGN KEY (tenant_id, certificate_serial) REFERENCES certificate (tenant_id, serial)
);

CREATE TABLE station (
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    site_id uuid NOT NULL,
    name text NOT NULL,
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    hpke_key bytea NOT NULL CHECK (octet_length(hpke_key) = 32),
    certificate_serial uuid NOT NULL,
    -- What every epoch of the chain starts from.
    certificate_hash bytea NOT NULL CHECK (octet_length(certificate_hash) = 32),
    training boolean NOT NULL,
    -- As told at enrolment.
    program text NOT NULL,
    key_protection text NOT NULL,
    enrolled_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id),
    FOREIGN KEY (tenant_id, site_id) REFERENCES site (tenant_id, site_id),
    FOREIGN KEY (tenant_id, certificate_serial) REFERENCES certificate (tenant_id, serial)
);

CREATE TABLE enrolment_token (
    tenant_id uuid NOT NULL,
    -- Of the whole token line; the line itself is never here.
    token_sha256 bytea NOT NULL CHECK (octet_length(token_sha256) = 32),
    site_id uuid NOT NULL,
    training boolean NOT NULL,
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    -- All four are set by the one enrolment that used it.
    used_at timestamptz,
    used_key bytea CHECK (octet_length(used_key) = 32),
    used_hpke_key bytea CHECK (octet_length(used_hpke_key) = 32),
    station_id uuid,
    PRIMARY KEY (tenant_id, token_sha256),
    CHECK (num_nulls(used_at, used_key, used_hpke_key, station_id) IN (0, 4)),
    FOREIGN KEY (tenant_id, site_id) REFERENCES site (tenant_id, site_id),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
);

CREATE TABLE entry (
    -- Append-only. Every operation that a station signed and that follows its chain.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    epoch_n bigint NOT NULL CHECK (epoch_n >= 1),
    seq bigint NOT NULL CHECK (seq >= 1),
    epoch_id bytea NOT NULL CHECK (octet_length(epoch_id) = 16),
    -- SHA-256(0x00 || bytes): link of the chain and leaf hash in one.
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    type text NOT NULL,
    -- The entry, byte for byte as it was signed.
    bytes bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id, epoch_n, seq),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
);

CREATE TABLE leaf (
    -- Append-only. The tenant's log: no index is ever missing or given twice.
    tenant_id uuid NOT NULL,
    index bigint NOT NULL CHECK (index >= 0),
    kind text NOT NULL CHECK (kind IN ('certificate', 'operation', 'verdict')),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- Of a certificate.
    certificate_serial uuid,
    -- Of an operation; of a verdict, the last operation that it covers.
    station_id uuid,
    epoch_n bigint,
    seq bigint,
    -- Of an operation; null where its envelope is of a version that was unknown at arrival.
    operation_id uuid,
    -- Of a verdict: the first operation that it covers, and the framed statement.
    first_seq bigint,
    bytes bytea,
    PRIMARY KEY (tenant_id, index),
    CHECK (CASE kind
        WHEN 'certificate' THEN certificate_serial IS NOT NULL AND num_nonnulls(station_id, epoch_n, seq, operation_id, first_seq, bytes) = 0
        WHEN 'operation' THEN num_nulls(station_id, epoch_n, seq) = 0 AND num_nonnulls(certificate_serial, first_seq, bytes) = 0
        ELSE num_nulls(station_id, epoch_n, seq, first_seq, bytes) = 0 AND num_nonnulls(certificate_serial, operation_id) = 0
    END),
    FOREIGN KEY (tenant_id, certificate_serial) REFERENCES certificate (tenant_id, serial),
    FOREIGN KEY (tenant_id, station_id, epoch_n, seq) REFERENCES entry (tenant_id, station_id, epoch_n, seq)
);
CREATE UNIQUE INDEX leaf_operation ON leaf (tenant_id, station_id, epoch_n, seq) WHERE kind = 'operation';
CREATE UNIQUE INDEX leaf_verdict ON leaf (tenant_id, station_id, epoch_n, seq) WHERE kind = 'verdict';
CREATE INDEX leaf_operation_id ON leaf (tenant_id, operation_id) WHERE operation_id IS NOT NULL;

CREATE TABLE verdict (
    -- Append-only. Operations that were not simply accepted, as the statement of their verdict leaf says.
    tenant_id uuid NOT NULL,
    index bigint NOT NULL,
    verdict_index bigint NOT NULL,
    verdict text NOT NULL CHECK (verdict IN ('accepted', 'flagged', 'quarantined')),
    code text NOT NULL,
    PRIMARY KEY (tenant_id, index, verdict_index),
    FOREIGN KEY (tenant_id, index) REFERENCES leaf (tenant_id, index),
    FOREIGN KEY (tenant_id, verdict_index) REFERENCES leaf (tenant_id, index)
);

CREATE TABLE evidence (
    -- Append-only. Validly signed entries for a place that another entry holds.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    epoch_n bigint NOT NULL,
    epoch_id bytea NOT NULL CHECK (octet_length(epoch_id) = 16),
    seq bigint NOT NULL,
    code text NOT NULL,
    bytes bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id, hash),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
);

CREATE TABLE receipt (
    -- Append-only. What the cloud signed about how far it holds a station's chain.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    -- Counts from 1 for each station.
    number bigint NOT NULL CHECK (number >= 1),
    epoch_n bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    bytes bytea NOT NULL,
    PRIMARY KEY (tenant_id, station_id, number),
    UNIQUE (tenant_id, station_id, hash),
    FOREIGN KEY (tenant_id, station_id, epoch_n, seq) REFERENCES entry (tenant_id, station_id, epoch_n, seq)
);

CREATE TABLE feed_page (
    -- Append-only. Every page of reference data that stations could ever know.
    tenant_id uuid NOT NULL,
    site_id uuid NOT NULL,
    cursor bigint NOT NULL CHECK (cursor >= 1),
    -- Of the feed up to and including this page.
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    page bytea NOT NULL,
    made_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, site_id, cursor),
    FOREIGN KEY (tenant_id, site_id) REFERENCES site (tenant_id, site_id)
);

CREATE TABLE lot (
    -- Projection of the site's newest page.
    tenant_id uuid NOT NULL,
    site_id uuid NOT NULL,
    item text NOT NULL,
    lot text NOT NULL,
    status text NOT NULL CHECK (status IN ('released', 'quarantine', 'hold', 'rejected')),
    PRIMARY KEY (tenant_id, site_id, item, lot),
    FOREIGN KEY (tenant_id, site_id) REFERENCES site (tenant_id, site_id)
);

CREATE TABLE scan (
    -- Projection of the operations scan.accepted and scan.refused.
    tenant_id uuid NOT NULL,
    index bigint NOT NULL,
    station_id uuid NOT NULL,
    accepted boolean NOT NULL,
    item text,
    lot text,
    -- Why it was refused.
    code text,
    -- Every byte of the frame that the scanner sent.
    raw bytea NOT NULL,
    -- The station's wall clock.
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, index),
    CHECK (accepted = (code IS NULL)),
    FOREIGN KEY (tenant_id, index) REFERENCES leaf (tenant_id, index)
);

CREATE TABLE audit (
    -- Append-only. One row a request that did something, written in its transaction (21 CFR 11.10(e)).
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    -- station:<id>, or cloud for its own program.
    actor text NOT NULL,
    action text NOT NULL,
    -- Where the request came from; null for the cloud's own program.
    address text,
    detail jsonb NOT NULL,
    -- Of the state that was changed, before and after; the same where nothing changed.
    prior_hash bytea CHECK (octet_length(prior_hash) = 32),
    next_hash bytea CHECK (octet_length(next_hash) = 32),
    reason text,
    PRIMARY KEY (tenant_id, id),
    FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id)
);
