-- Not part of the log: refused requests, sign-ins and exports, the newest of each kind.
CREATE TABLE attempts (
    company_id  BLOB    NOT NULL,
    kind        TEXT    NOT NULL,
    at          INTEGER NOT NULL,
    attempt_id  BLOB    NOT NULL,
    actor_type  TEXT,
    actor_id    BLOB,
    method      TEXT    NOT NULL,
    route       TEXT    NOT NULL,
    status      INTEGER NOT NULL,
    problem     TEXT,
    request_id  TEXT,
    ip          TEXT,
    user_agent  TEXT,
    PRIMARY KEY (company_id, kind, at, attempt_id)
) WITHOUT ROWID;

-- Not part of the log: how many attempts were not kept, or no longer are.
CREATE TABLE attempts_dropped (
    company_id  BLOB    NOT NULL,
    kind        TEXT    NOT NULL,
    dropped     INTEGER NOT NULL,
    PRIMARY KEY (company_id, kind)
) WITHOUT ROWID;
