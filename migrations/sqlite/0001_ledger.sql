-- The ledger. Instants are microseconds since 1970-01-01T00:00:00Z.

-- "TLdg": tells a ledger from other SQLite files.
PRAGMA application_id = 1414292583;

-- One row per company: the lock that orders its ledger, and what a commit is checked against.
CREATE TABLE company_heads (
    company_id        BLOB    NOT NULL PRIMARY KEY,
    last_position     INTEGER NOT NULL,
    last_recorded_at  INTEGER NOT NULL,
    company_sequence  INTEGER NOT NULL
) WITHOUT ROWID;

-- Append-only. `payload` and `metadata` keep their exact text, since it is hashed.
CREATE TABLE events (
    company_id          BLOB    NOT NULL,
    aggregate_type      TEXT    NOT NULL,
    aggregate_id        TEXT    NOT NULL,
    sequence            INTEGER NOT NULL,
    event_type          TEXT    NOT NULL,
    event_version       TEXT    NOT NULL,
    payload             TEXT    NOT NULL,
    metadata            TEXT    NOT NULL,
    position            INTEGER NOT NULL,
    recorded_at         INTEGER NOT NULL,
    commit_id           BLOB    NOT NULL,
    salt                BLOB    NOT NULL,
    private_commitment  BLOB,
    entry_hash          BLOB    NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence, company_id),
    UNIQUE (company_id, position)
);

CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

CREATE TRIGGER events_are_never_deleted BEFORE DELETE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

-- Nothing is put in the place of an event either, nor between events. FAIL rather than ABORT: it
-- needs no journal of its own for each insert, and there is nothing to undo before an insert.
CREATE TRIGGER events_are_never_replaced BEFORE INSERT ON events
WHEN NEW.position <= (SELECT last_position FROM company_heads WHERE company_id = NEW.company_id)
BEGIN
    SELECT RAISE(FAIL, 'events are append-only');
END;

-- What names or describes a person. It can be erased; the event keeps the commitment to it.
CREATE TABLE event_private (
    company_id  BLOB    NOT NULL,
    position    INTEGER NOT NULL,
    salt        BLOB    NOT NULL,
    data        TEXT    NOT NULL,
    PRIMARY KEY (company_id, position)
) WITHOUT ROWID;

-- The newest folded state of a long stream.
CREATE TABLE snapshots (
    company_id        BLOB    NOT NULL,
    aggregate_type    TEXT    NOT NULL,
    aggregate_id      TEXT    NOT NULL,
    last_sequence     INTEGER NOT NULL,
    current_snapshot  INTEGER NOT NULL,
    payload           TEXT    NOT NULL,
    PRIMARY KEY (company_id, aggregate_type, aggregate_id)
) WITHOUT ROWID;

-- Not part of the log: what a repeated request is answered from, for a day.
CREATE TABLE idempotency_keys (
    company_id    BLOB    NOT NULL,
    caller        TEXT    NOT NULL,
    route         TEXT    NOT NULL,
    key           TEXT    NOT NULL,
    request_hash  BLOB    NOT NULL,
    result        TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    PRIMARY KEY (company_id, caller, route, key)
) WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (at);
