-- Evidence: the companies' Merkle trees and their signed checkpoints. All of it derives from the
-- log, but for the signatures.

-- Hashes of the tree, 256 to a full tile (C2SP tlog-tiles). Level 0 are the hashes of the entries.
CREATE TABLE log_tiles (
    company_id  uuid   NOT NULL,
    level       bigint NOT NULL,
    tile        bigint NOT NULL,
    hashes      bytea  NOT NULL,
    PRIMARY KEY (company_id, level, tile)
);

-- The largest tree that was signed for an origin, and with which key.
CREATE TABLE log_heads (
    company_id    uuid   NOT NULL,
    origin        text   COLLATE "C" NOT NULL,
    verifier_key  text   NOT NULL,
    size          bigint NOT NULL,
    PRIMARY KEY (company_id, origin)
);

-- Every checkpoint that was signed: one for a size.
CREATE TABLE log_checkpoints (
    company_id    uuid   NOT NULL,
    origin        text   COLLATE "C" NOT NULL,
    size          bigint NOT NULL,
    root          bytea  NOT NULL,
    verifier_key  text   NOT NULL,
    note          text   NOT NULL,
    cosignatures  text   NOT NULL,
    signed_at     bigint NOT NULL,
    PRIMARY KEY (company_id, origin, size)
);

CREATE INDEX log_checkpoints_by_time ON log_checkpoints (company_id, signed_at, origin, size);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        PERFORM create_distributed_table('log_tiles', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('log_heads', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('log_checkpoints', 'company_id', colocate_with => 'company_heads');
    END IF;
END
$$;
