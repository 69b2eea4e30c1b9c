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
    -- Who was enrolled. Its keys, its reports and its end have tables of their own.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    site_id uuid NOT NULL,
    name text NOT NULL,
    training boolean NOT NULL,
    -- As told at enrolment.
    program text NOT NULL,
    key_protection text NOT NULL,
    enrolled_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id),
    FOREIGN KEY (tenant_id, site_id) REFERENCES site (tenant_id, site_id)
);

CREATE TABLE station_key (
    -- Append-only. Every key that a station was certified for; the one with the highest number is the present one.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    -- Counts from 1 for each station.
    number bigint NOT NULL CHECK (number >= 1),
    public_key bytea NOT NULL CHECK (octet_length(public_key) = 32),
    hpke_key bytea NOT NULL CHECK (octet_length(hpke_key) = 32),
    certificate_serial uuid NOT NULL,
    -- What every epoch signed with this key starts from.
    certificate_hash bytea NOT NULL CHECK (octet_length(certificate_hash) = 32),
    certified_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id, number),
    UNIQUE (tenant_id, station_id, public_key),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id),
    FOREIGN KEY (tenant_id, certificate_serial) REFERENCES certificate (tenant_id, serial)
);

CREATE TABLE station_closing (
    -- Append-only. How a station came to its end; what it pushes afterwards is kept and not applied.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    closing text NOT NULL CHECK (closing IN ('retired', 'revoked')),
    -- The last entry that it had reported; null if it never had one.
    epoch_n bigint,
    epoch_id bytea CHECK (octet_length(epoch_id) = 16),
    seq bigint,
    hash bytea CHECK (octet_length(hash) = 32),
    -- The framed statement, which is a leaf, too.
    bytes bytea NOT NULL,
    closed_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id),
    CHECK (num_nulls(epoch_n, epoch_id, seq, hash) IN (0, 4)),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
);

CREATE TABLE heartbeat (
    -- How a station said that it is: one row a station, replaced by its next heartbeat.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    -- The head as it was told last; null before the first entry.
    epoch_n bigint,
    epoch_id bytea CHECK (octet_length(epoch_id) = 16),
    seq bigint,
    hash bytea CHECK (octet_length(hash) = 32),
    -- The furthest head that it ever told; never goes back.
    furthest_epoch_n bigint,
    furthest_epoch_id bytea CHECK (octet_length(furthest_epoch_id) = 16),
    furthest_seq bigint,
    furthest_hash bytea CHECK (octet_length(furthest_hash) = 32),
    depth bigint NOT NULL CHECK (depth >= 0),
    oldest timestamptz,
    version text NOT NULL,
    -- The station's own clock.
    wall timestamptz NOT NULL,
    clock_offset_ms bigint,
    key_protection text NOT NULL,
    -- [{role, state}]
    devices jsonb NOT NULL,
    disk_free bigint CHECK (disk_free >= 0),
    alarms text[] NOT NULL,
    -- The last checkpoint that the station verified.
    log_generation bigint,
    log_size bigint,
    PRIMARY KEY (tenant_id, station_id),
    CHECK (num_nulls(epoch_n, epoch_id, seq, hash) IN (0, 4)),
    CHECK (num_nulls(furthest_epoch_n, furthest_epoch_id, furthest_seq, furthest_hash) IN (0, 4)),
    CHECK (num_nulls(log_generation, log_size) IN (0, 2)),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
);

CREATE TABLE head_contradiction (
    -- Append-only. For each epoch the first head in a heartbeat that one station alone cannot have told: it lies
    -- behind an earlier one, or another entry is known at its place. No entry at all is epoch 0, seq 0, zeros.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    epoch_n bigint NOT NULL CHECK (epoch_n >= 0),
    epoch_id bytea NOT NULL CHECK (octet_length(epoch_id) = 16),
    seq bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- What it contradicts.
    known_epoch_n bigint NOT NULL,
    known_epoch_id bytea NOT NULL CHECK (octet_length(known_epoch_id) = 16),
    known_seq bigint NOT NULL,
    known_hash bytea NOT NULL CHECK (octet_length(known_hash) = 32),
    found_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id, epoch_n),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
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

-- A push fills the tables entry, leaf and scan row by row. They have no foreign keys: to check one costs as much as
-- the row, and the row that it would name is written in the same transaction.

CREATE TABLE entry (
    -- Append-only. Every operation that a station signed and that follows its chain; also those without a leaf yet.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    epoch_n bigint NOT NULL CHECK (epoch_n >= 1),
    -- 0 is the first; another begins where two entries claim one place, and has only its own entries from there.
    branch bigint NOT NULL CHECK (branch >= 0),
    seq bigint NOT NULL CHECK (seq >= 1),
    epoch_id bytea NOT NULL CHECK (octet_length(epoch_id) = 16),
    -- SHA-256(0x00 || bytes): link of the chain and leaf hash in one.
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- Null where the envelope is of a version that was unknown at arrival.
    operation_id uuid,
    type text NOT NULL,
    -- The entry, byte for byte as it was signed.
    bytes bytea NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, station_id, epoch_n, branch, seq)
);
CREATE INDEX entry_operation ON entry (tenant_id, operation_id);

CREATE TABLE waiting (
    -- Entries that have no log index yet, a row a push; deleted when they get them.
    tenant_id uuid NOT NULL,
    -- The order in which they are numbered.
    arrival bigint GENERATED BY DEFAULT AS IDENTITY,
    station_id uuid NOT NULL,
    epoch_n bigint NOT NULL,
    epoch_id bytea NOT NULL CHECK (octet_length(epoch_id) = 16),
    branch bigint NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL CHECK (last_seq >= first_seq),
    -- The station's clock was wrong by more than 300 s.
    skewed boolean NOT NULL,
    -- Where they begin a branch: the entry that held their first place.
    fork_held bytea CHECK (octet_length(fork_held) = 32),
    fork_other bytea CHECK (octet_length(fork_other) = 32),
    PRIMARY KEY (tenant_id, arrival),
    CHECK (num_nulls(fork_held, fork_other) IN (0, 2)),
    FOREIGN KEY (tenant_id, station_id, epoch_n, branch, last_seq)
        REFERENCES entry (tenant_id, station_id, epoch_n, branch, seq)
);

CREATE TABLE leaf (
    -- Append-only. The tenant's log: no index is ever missing or given twice.
    tenant_id uuid NOT NULL,
    index bigint NOT NULL CHECK (index >= 0),
    kind text NOT NULL CHECK (kind IN ('certificate', 'operation', 'verdict', 'statement')),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- Of an operation; of a verdict, the last operation that it covers; of a statement, the station it is about.
    station_id uuid,
    epoch_n bigint,
    branch bigint,
    seq bigint,
    -- Of a verdict: the first operation that it covers.
    first_seq bigint,
    -- Of a verdict or a statement: its frame.
    bytes bytea,
    -- Of a certificate.
    certificate_serial uuid,
    -- Of a statement: its member "kind".
    statement_kind text,
    PRIMARY KEY (tenant_id, index),
    CHECK (CASE kind
        WHEN 'operation' THEN num_nulls(station_id, epoch_n, branch, seq) = 0
            AND num_nonnulls(first_seq, bytes, certificate_serial, statement_kind) = 0
        WHEN 'verdict' THEN num_nulls(station_id, epoch_n, branch, seq, first_seq, bytes) = 0
            AND num_nonnulls(certificate_serial, statement_kind) = 0
        WHEN 'certificate' THEN certificate_serial IS NOT NULL
            AND num_nonnulls(station_id, epoch_n, branch, seq, first_seq, bytes, statement_kind) = 0
        ELSE num_nulls(bytes, statement_kind) = 0
            AND num_nonnulls(epoch_n, branch, seq, first_seq, certificate_serial) = 0
    END)
);
CREATE UNIQUE INDEX leaf_verdict ON leaf (tenant_id, station_id, epoch_n, branch, seq) WHERE kind = 'verdict';
CREATE INDEX leaf_statement ON leaf (tenant_id, statement_kind) WHERE kind = 'statement';

CREATE TABLE tree (
    -- Append-only. How the log's Merkle tree stood after each append: what checkpoints are signed from.
    tenant_id uuid NOT NULL,
    size bigint NOT NULL CHECK (size >= 1),
    -- Of the checkpoint; one more after each restore of the database that was owned up to.
    generation bigint NOT NULL CHECK (generation >= 1),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    -- Roots of the perfect subtrees, left to right: one for each bit of the size.
    frontier bytea NOT NULL CHECK (octet_length(frontier) % 32 = 0),
    -- The batch that was numbered, if it was one.
    station_id uuid,
    arrival bigint,
    -- Log index of its first operation.
    first_index bigint NOT NULL CHECK (first_index >= 0),
    -- The size that the station's batch before was answered with; 0 for its first.
    previous_size bigint NOT NULL CHECK (previous_size >= 0),
    appended_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, size),
    CHECK (num_nulls(station_id, arrival) IN (0, 2)),
    FOREIGN KEY (tenant_id, station_id) REFERENCES station (tenant_id, station_id)
);
CREATE UNIQUE INDEX tree_batch ON tree (tenant_id, station_id, arrival) WHERE station_id IS NOT NULL;

CREATE TABLE node (
    -- Append-only. Roots of the tree's perfect subtrees of 256 leaves and more; smaller ones are made from leaves.
    tenant_id uuid NOT NULL,
    level bigint NOT NULL CHECK (level >= 8),
    index bigint NOT NULL CHECK (index >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (tenant_id, level, index)
);

CREATE TABLE recovered (
    -- Append-only. Restores of the database that the tenant's root key owned up to; each begins a generation.
    tenant_id uuid NOT NULL,
    generation bigint NOT NULL CHECK (generation >= 2),
    -- The framed statement, which is the generation's first leaf.
    bytes bytea NOT NULL,
    recovered_at timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, generation),
    FOREIGN KEY (tenant_id) REFERENCES tenant (tenant_id)
);

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
    -- Append-only. Bytes that no chain holds, as a station sent them; never applied.
    tenant_id uuid NOT NULL,
    station_id uuid NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    -- Why they are here.
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
    branch bigint NOT NULL,
    seq bigint NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    bytes bytea NOT NULL,
    PRIMARY KEY (tenant_id, station_id, number),
    UNIQUE (tenant_id, station_id, epoch_n, branch, seq),
    FOREIGN KEY (tenant_id, station_id, epoch_n, branch, seq)
        REFERENCES entry (tenant_id, station_id, epoch_n, branch, seq)
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
    -- Append-only. Projection of the operations scan.accepted and scan.refused that were applied.
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
    CHECK (accepted = (code IS NULL))
);

CREATE TABLE audit (
    -- Append-only. One row a request that did something, written in its transaction (21 CFR 11.10(e)).
    tenant_id uuid NOT NULL,
    id uuid NOT NULL,
    at timestamptz NOT NULL,
    -- station:<id>, courier:<station> for its queue brought by hand, or cloud for the cloud's own program.
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
