-- Evidence: the companies' Merkle trees and their signed checkpoints. All of it derives from the
-- log, but for the signatures.

-- Hashes of the tree, 256 to a full tile (C2SP tlog-tiles). Level 0 are the hashes of the entries.
CREATE TABLE log_tiles (
    company_id  BLOB    NOT NULL,
    level       INTEGER NOT NULL,
    tile        INTEGER NOT NULL,
    hashes      BLOB    NOT NULL,
    PRIMARY KEY (company_id, level, tile)
) WITHOUT ROWID;

-- The largest tree that was signed for an origin, and with which key.
CREATE TABLE log_heads (
    company_id    BLOB    NOT NULL,
    origin        TEXT    NOT NULL,
    verifier_key  TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    PRIMARY KEY (company_id, origin)
) WITHOUT ROWID;

-- Every checkpoint that was signed: one for a size.
CREATE TABLE log_checkpoints (
    company_id    BLOB    NOT NULL,
    origin        TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    root          BLOB    NOT NULL,
    verifier_key  TEXT    NOT NULL,
    note          TEXT    NOT NULL,
    cosignatures  TEXT    NOT NULL,
    signed_at     INTEGER NOT NULL,
    PRIMARY KEY (company_id, origin, size)
) WITHOUT ROWID;

CREATE INDEX log_checkpoints_by_time ON log_checkpoints (company_id, signed_at, origin, size);
