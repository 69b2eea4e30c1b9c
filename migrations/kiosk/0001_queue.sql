CREATE TABLE identity (
  -- Who this station is; one row, written at enrolment. Everything in it is verified again at every start,
  -- from the fingerprint of the tenant's root key down.
  id               INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  tenant           TEXT NOT NULL,
  site             TEXT NOT NULL,
  site_name        TEXT NOT NULL,
  zone             TEXT NOT NULL,
  station_name     TEXT NOT NULL,
  root_fingerprint BLOB NOT NULL CHECK (length(root_fingerprint) = 32),
  certificates     BLOB NOT NULL, -- frames back to back, as the cloud sent them
  key_protection   TEXT NOT NULL
) STRICT;

CREATE TABLE epoch (
  -- One uninterrupted run of the chain under one key. The entry `seq` of an epoch lies at
  -- first_position + seq - 1. certificate: hash of the certificate of its key, which its first entry follows.
  -- reason: that of its epoch.opened; null for the first epoch of all.
  n              INTEGER NOT NULL PRIMARY KEY CHECK (n >= 1),
  id             BLOB NOT NULL CHECK (length(id) = 16),
  first_position INTEGER NOT NULL UNIQUE CHECK (first_position >= 1),
  certificate    BLOB NOT NULL CHECK (length(certificate) = 32),
  reason         TEXT
) STRICT;

CREATE TABLE operation (
  -- The operations, in the order in which they were committed. No AUTOINCREMENT: the position follows from
  -- epoch and seq, the trigger below lets no other in, and a second table to write at every commit is saved.
  position INTEGER NOT NULL PRIMARY KEY,
  epoch_n  INTEGER NOT NULL REFERENCES epoch (n),
  seq      INTEGER NOT NULL CHECK (seq >= 1),
  id       BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
  type     TEXT NOT NULL,
  hash     BLOB NOT NULL CHECK (length(hash) = 32),
  wall     INTEGER NOT NULL, -- milliseconds since 1970, for the age of the oldest waiting operation
  entry    BLOB NOT NULL     -- the signed bytes; every other column is only an index into them
) STRICT;

CREATE TRIGGER operation_follows BEFORE INSERT ON operation
WHEN NEW.position IS NOT (SELECT first_position + NEW.seq - 1 FROM epoch WHERE n = NEW.epoch_n)
  OR NEW.position <= (SELECT coalesce(max(position), 0) FROM operation)
BEGIN SELECT RAISE(ABORT, 'operation does not follow'); END;

CREATE TRIGGER operation_no_update BEFORE UPDATE ON operation
BEGIN SELECT RAISE(ABORT, 'operations are append-only'); END;

-- What a start reads back of the print jobs, without looking at every operation.
CREATE INDEX operation_label ON operation (position)
WHERE type IN ('label.queued', 'label.state', 'epoch.opened');

CREATE TABLE blob (
  -- What operations name by its hash: the bytes of labels. Written in the transaction of the first that names it.
  sha256 BLOB NOT NULL PRIMARY KEY CHECK (length(sha256) = 32),
  bytes  BLOB NOT NULL
) STRICT;

CREATE TRIGGER blob_no_update BEFORE UPDATE ON blob
BEGIN SELECT RAISE(ABORT, 'blobs are append-only'); END;

CREATE TRIGGER blob_no_delete BEFORE DELETE ON blob
BEGIN SELECT RAISE(ABORT, 'blobs are append-only'); END;

CREATE TABLE delivery (
  -- How far each epoch has come on its way: queued, sent, settled. Both are prefixes, so one number each.
  -- aside_after: the cloud ended the epoch after this entry; what follows goes to it as evidence only.
  epoch_n         INTEGER NOT NULL PRIMARY KEY REFERENCES epoch (n),
  sent_through    INTEGER NOT NULL DEFAULT 0,
  settled_through INTEGER NOT NULL DEFAULT 0 CHECK (settled_through BETWEEN 0 AND sent_through),
  aside_after     INTEGER CHECK (aside_after >= settled_through)
) STRICT;

CREATE TABLE receipt (
  -- The cloud's signed answers, verified before they came here.
  number    INTEGER NOT NULL PRIMARY KEY,
  hash      BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  epoch_n   INTEGER NOT NULL REFERENCES epoch (n),
  seq       INTEGER NOT NULL,
  time      INTEGER NOT NULL, -- the cloud's, as signed
  statement BLOB NOT NULL
) STRICT;

CREATE INDEX receipt_place ON receipt (epoch_n, seq);

CREATE TRIGGER receipt_no_update BEFORE UPDATE ON receipt
BEGIN SELECT RAISE(ABORT, 'receipts are append-only'); END;

CREATE TRIGGER receipt_no_delete BEFORE DELETE ON receipt
BEGIN SELECT RAISE(ABORT, 'receipts are append-only'); END;

CREATE TABLE verdict (
  -- Verdict batches as signed. epoch_n and first_seq say which operations log index `first` and the next
  -- ones are; null where the receipt that came with them did not tell.
  hash      BLOB NOT NULL PRIMARY KEY CHECK (length(hash) = 32),
  first     INTEGER NOT NULL,
  count     INTEGER NOT NULL,
  epoch_n   INTEGER REFERENCES epoch (n),
  first_seq INTEGER,
  statement BLOB NOT NULL
) STRICT;

CREATE TABLE verdict_exception (
  -- The operations of a batch that were not simply accepted.
  verdict_hash BLOB NOT NULL REFERENCES verdict (hash),
  log_index    INTEGER NOT NULL,
  verdict      TEXT NOT NULL,
  code         TEXT NOT NULL,
  PRIMARY KEY (verdict_hash, log_index)
) STRICT, WITHOUT ROWID;

CREATE TABLE reference_page (
  -- The newest page of reference data; one row at most. confirmed_*: the station's clocks when the cloud
  -- last said that it is the newest; generation: the one of the log that was accepted by then.
  id               INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  cursor           INTEGER NOT NULL,
  generation       INTEGER NOT NULL,
  hash             BLOB NOT NULL CHECK (length(hash) = 32),
  time             INTEGER NOT NULL,
  statement        BLOB NOT NULL,
  page             BLOB NOT NULL,
  confirmed_wall   INTEGER NOT NULL,
  confirmed_offset INTEGER NOT NULL,
  confirmed_mono   INTEGER NOT NULL,
  confirmed_boot   BLOB NOT NULL CHECK (length(confirmed_boot) = 16)
) STRICT;

CREATE TABLE clock (
  -- What is remembered of time; one row. The high-water mark is the latest of `mark` and the wall clocks of
  -- the operations after mark_position, so that an append need not write here.
  id              INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  mark            INTEGER,
  mark_position   INTEGER NOT NULL,
  server_time     INTEGER,
  received_wall   INTEGER,
  received_offset INTEGER,
  received_mono   INTEGER,
  received_boot   BLOB,
  CHECK ((server_time IS NULL) = (received_boot IS NULL))
) STRICT;

CREATE TABLE probe (
  -- Scratch for finding out, after a failed write, whether the disk takes anything again; one row.
  id     INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  filler BLOB NOT NULL
) STRICT;

CREATE TABLE set_aside (
  -- What no chain goes on from: the rest of an epoch that the cloud ended (epoch_n, after_seq), or a queue
  -- file that could not be used (file, in the data directory). Sent once as evidence: kept_through counts the
  -- positions looked at so far, kept_at is when the cloud had kept the last of it, in its own time.
  number       INTEGER NOT NULL PRIMARY KEY,
  reason       TEXT NOT NULL,
  code         TEXT NOT NULL, -- what the cloud, or opening the file, said
  file         TEXT UNIQUE,
  epoch_n      INTEGER UNIQUE REFERENCES epoch (n),
  after_seq    INTEGER,
  kept_through INTEGER NOT NULL DEFAULT 0,
  kept_at      INTEGER,
  CHECK ((file IS NULL) = (epoch_n IS NOT NULL) AND (epoch_n IS NULL) = (after_seq IS NULL))
) STRICT;

CREATE TABLE pruning (
  -- By what the next pruning goes; one row.
  id               INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  at               INTEGER NOT NULL, -- trusted time
  restore_window_s INTEGER NOT NULL CHECK (restore_window_s >= 0),
  retention_s      INTEGER NOT NULL CHECK (retention_s >= 0)
) STRICT;

-- What the cloud confirmed before this may go: a week after the cloud could still be restored to a time before
-- it, and after the retention. Never by a clock of the station's own. No row as long as something is unknown.
CREATE VIEW prunable_before AS
SELECT min(at, server_time) - 1000 * max(restore_window_s + 604800, retention_s) AS time
FROM pruning, clock WHERE server_time IS NOT NULL;

CREATE TABLE base (
  -- The last operation that was pruned: what the chain here begins after; one row at most.
  id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  position INTEGER NOT NULL,
  epoch_n  INTEGER NOT NULL REFERENCES epoch (n),
  seq      INTEGER NOT NULL,
  hash     BLOB NOT NULL CHECK (length(hash) = 32),
  receipt  BLOB REFERENCES receipt (hash) -- the first that covers it; null for what was kept as evidence
) STRICT;

-- Operations go oldest first, never the last one, and only those that the cloud confirmed long ago.
CREATE TRIGGER operation_no_delete BEFORE DELETE ON operation
WHEN EXISTS (SELECT 1 FROM operation WHERE position < OLD.position)
  OR NOT EXISTS (SELECT 1 FROM operation WHERE position > OLD.position)
  OR NOT (
    EXISTS (SELECT 1 FROM delivery, prunable_before
            JOIN receipt ON receipt.epoch_n = OLD.epoch_n AND receipt.seq >= OLD.seq
                        AND receipt.time <= prunable_before.time
            WHERE delivery.epoch_n = OLD.epoch_n AND delivery.settled_through >= OLD.seq)
    OR EXISTS (SELECT 1 FROM set_aside, prunable_before
               WHERE set_aside.epoch_n = OLD.epoch_n AND set_aside.after_seq < OLD.seq
                 AND set_aside.kept_at <= prunable_before.time))
BEGIN SELECT RAISE(ABORT, 'operations are append-only'); END;

CREATE TRIGGER operation_pruned AFTER DELETE ON operation
BEGIN
  INSERT INTO base (id, position, epoch_n, seq, hash, receipt)
  VALUES (1, OLD.position, OLD.epoch_n, OLD.seq, OLD.hash,
          (SELECT hash FROM receipt WHERE epoch_n = OLD.epoch_n AND seq >= OLD.seq ORDER BY seq, number LIMIT 1))
  ON CONFLICT (id) DO UPDATE SET
    position = excluded.position, epoch_n = excluded.epoch_n, seq = excluded.seq, hash = excluded.hash,
    receipt = excluded.receipt;
END;

CREATE TABLE checkpoint (
  -- The signed heads of the tenant's log, verified before they came here, in the order in which they came.
  -- proofs: JSON, the consistency proofs by which each follows the one before, or what was restored.
  number     INTEGER NOT NULL PRIMARY KEY,
  generation INTEGER NOT NULL CHECK (generation >= 1),
  size       INTEGER NOT NULL CHECK (size >= 0),
  root       BLOB NOT NULL CHECK (length(root) = 32),
  note       TEXT NOT NULL,
  proofs     TEXT NOT NULL
) STRICT;

CREATE TRIGGER checkpoint_no_update BEFORE UPDATE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;

CREATE TRIGGER checkpoint_no_delete BEFORE DELETE ON checkpoint
BEGIN SELECT RAISE(ABORT, 'checkpoints are append-only'); END;

CREATE TABLE range_proof (
  -- That a verdict batch and the operations before it stand in the log: `count` operations of the epoch from
  -- first_seq on and those of `rest`, at the log index that the batch names. Hashes: 32 bytes each, back to back.
  verdict_hash BLOB NOT NULL REFERENCES verdict (hash),
  generation   INTEGER NOT NULL,
  checkpoint   INTEGER NOT NULL REFERENCES checkpoint (number),
  epoch_n      INTEGER NOT NULL REFERENCES epoch (n),
  first_seq    INTEGER NOT NULL CHECK (first_seq >= 1),
  count        INTEGER NOT NULL CHECK (count >= 0),
  hashes       BLOB NOT NULL CHECK (length(hashes) % 32 = 0),
  rest         BLOB NOT NULL CHECK (length(rest) % 32 = 0),
  PRIMARY KEY (verdict_hash, generation, count)
) STRICT;

CREATE INDEX range_proof_place ON range_proof (epoch_n, first_seq);

CREATE TRIGGER range_proof_no_update BEFORE UPDATE ON range_proof
BEGIN SELECT RAISE(ABORT, 'proofs are append-only'); END;

CREATE TRIGGER range_proof_no_delete BEFORE DELETE ON range_proof
BEGIN SELECT RAISE(ABORT, 'proofs are append-only'); END;

CREATE TABLE log_recovered (
  -- Restores of the cloud's log that were accepted: statements signed by the tenant's root key.
  generation INTEGER NOT NULL PRIMARY KEY CHECK (generation >= 2),
  hash       BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  statement  BLOB NOT NULL
) STRICT;

CREATE TRIGGER log_recovered_no_update BEFORE UPDATE ON log_recovered
BEGIN SELECT RAISE(ABORT, 'restores are append-only'); END;

CREATE TRIGGER log_recovered_no_delete BEFORE DELETE ON log_recovered
BEGIN SELECT RAISE(ABORT, 'restores are append-only'); END;

CREATE TABLE contradiction (
  -- What the cloud said that contradicts what it had signed, or proves nothing, and what it is held against.
  number INTEGER NOT NULL PRIMARY KEY,
  code   TEXT NOT NULL,
  told   TEXT NOT NULL, -- JSON
  ours   TEXT NOT NULL, -- JSON
  wall   INTEGER NOT NULL
) STRICT;

CREATE TRIGGER contradiction_no_update BEFORE UPDATE ON contradiction
BEGIN SELECT RAISE(ABORT, 'contradictions are append-only'); END;

CREATE TRIGGER contradiction_no_delete BEFORE DELETE ON contradiction
BEGIN SELECT RAISE(ABORT, 'contradictions are append-only'); END;

CREATE TABLE contradiction_tally (
  -- How many more there were than are kept; one row at most.
  id   INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  more INTEGER NOT NULL
) STRICT;

CREATE TABLE acknowledgement (
  -- Up to which restore, or which contradiction, a person has taken notice.
  alarm   TEXT NOT NULL PRIMARY KEY,
  through INTEGER NOT NULL
) STRICT;
