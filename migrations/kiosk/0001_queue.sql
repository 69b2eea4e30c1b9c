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
  -- One uninterrupted run of the chain. The entry `seq` of an epoch lies at first_position + seq - 1.
  n              INTEGER NOT NULL PRIMARY KEY CHECK (n >= 1),
  id             BLOB NOT NULL CHECK (length(id) = 16),
  first_position INTEGER NOT NULL UNIQUE CHECK (first_position >= 1)
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

CREATE TRIGGER operation_no_delete BEFORE DELETE ON operation
BEGIN SELECT RAISE(ABORT, 'operations are append-only'); END;

CREATE TABLE delivery (
  -- How far each epoch has come on its way: queued, sent, settled. Both are prefixes, so one number each.
  epoch_n         INTEGER NOT NULL PRIMARY KEY REFERENCES epoch (n),
  sent_through    INTEGER NOT NULL DEFAULT 0,
  settled_through INTEGER NOT NULL DEFAULT 0 CHECK (settled_through BETWEEN 0 AND sent_through)
) STRICT;

CREATE TABLE receipt (
  -- The cloud's signed answers, verified before they came here.
  number    INTEGER NOT NULL PRIMARY KEY,
  hash      BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
  epoch_n   INTEGER NOT NULL REFERENCES epoch (n),
  seq       INTEGER NOT NULL,
  statement BLOB NOT NULL
) STRICT;

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
  -- last said that it is the newest.
  id               INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  cursor           INTEGER NOT NULL,
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
