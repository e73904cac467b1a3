-- The read models. Everything here but `last_used_at` can be rebuilt from the events.

-- How far each projection that runs behind the log has come, per company.
CREATE TABLE checkpoints (
    company_id  BLOB    NOT NULL,
    projection  TEXT    NOT NULL,
    version     INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (company_id, projection)
) WITHOUT ROWID;

CREATE TABLE companies (
    company_id          BLOB    NOT NULL PRIMARY KEY,
    name                TEXT    NOT NULL,
    oauth_app_enabled   INTEGER NOT NULL,
    policy              TEXT    NOT NULL,
    created_at          INTEGER NOT NULL,
    version             INTEGER NOT NULL,
    position            INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE tokens (
    company_id           BLOB    NOT NULL,
    token_id             BLOB    NOT NULL,
    name                 TEXT    NOT NULL,
    scopes               TEXT    NOT NULL,
    status               TEXT    NOT NULL,
    client_id            BLOB,
    term                 INTEGER NOT NULL,
    digest               BLOB    NOT NULL,
    hint                 TEXT    NOT NULL,
    expires_at           INTEGER NOT NULL,
    issued_at            INTEGER NOT NULL,
    previous_digest      BLOB,
    previous_expires_at  INTEGER,
    previous_issued_at   INTEGER,
    created_at           INTEGER NOT NULL,
    created_by_type      TEXT    NOT NULL,
    created_by_id        BLOB    NOT NULL,
    created_position     INTEGER NOT NULL,
    refreshed_at         INTEGER,
    deleted_at           INTEGER,
    version              INTEGER NOT NULL,
    position             INTEGER NOT NULL,
    PRIMARY KEY (company_id, token_id)
) WITHOUT ROWID;

CREATE INDEX tokens_by_creation ON tokens (company_id, created_at, token_id);
CREATE INDEX tokens_due ON tokens (expires_at) WHERE status = 'active';

-- Not part of the log: when a token was last seen to be used, sampled.
CREATE TABLE token_uses (
    company_id    BLOB    NOT NULL,
    token_id      BLOB    NOT NULL,
    last_used_at  INTEGER NOT NULL,
    PRIMARY KEY (company_id, token_id)
) WITHOUT ROWID;

CREATE TABLE keys (
    company_id           BLOB    NOT NULL,
    key_id               BLOB    NOT NULL,
    name                 TEXT    NOT NULL,
    scopes               TEXT    NOT NULL,
    status               TEXT    NOT NULL,
    term                 INTEGER NOT NULL,
    digest               BLOB    NOT NULL,
    hint                 TEXT    NOT NULL,
    expires_at           INTEGER NOT NULL,
    previous_digest      BLOB,
    previous_expires_at  INTEGER,
    created_at           INTEGER NOT NULL,
    created_by_type      TEXT    NOT NULL,
    created_by_id        BLOB    NOT NULL,
    created_position     INTEGER NOT NULL,
    refreshed_at         INTEGER,
    deleted_at           INTEGER,
    version              INTEGER NOT NULL,
    position             INTEGER NOT NULL,
    PRIMARY KEY (company_id, key_id)
) WITHOUT ROWID;

CREATE INDEX keys_due ON keys (expires_at) WHERE status = 'active';

CREATE TABLE members (
    company_id  BLOB    NOT NULL,
    member_id   BLOB    NOT NULL,
    person_id   BLOB    NOT NULL,
    role        TEXT    NOT NULL,
    added_at    INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    position    INTEGER NOT NULL,
    PRIMARY KEY (company_id, member_id)
) WITHOUT ROWID;

CREATE TABLE clients (
    company_id           BLOB    NOT NULL,
    client_id            BLOB    NOT NULL,
    name                 TEXT    NOT NULL,
    scopes               TEXT    NOT NULL,
    digest               BLOB    NOT NULL,
    hint                 TEXT    NOT NULL,
    previous_digest      BLOB,
    previous_expires_at  INTEGER,
    created_at           INTEGER NOT NULL,
    rotated_at           INTEGER,
    deleted_at           INTEGER,
    version              INTEGER NOT NULL,
    position             INTEGER NOT NULL,
    PRIMARY KEY (company_id, client_id)
) WITHOUT ROWID;

-- Thin: enough to find events by who, what and when; the content is joined from `events`.
CREATE TABLE audit_trail (
    company_id      BLOB    NOT NULL,
    position        INTEGER NOT NULL,
    aggregate_type  TEXT    NOT NULL,
    aggregate_id    BLOB    NOT NULL,
    event_type      TEXT    NOT NULL,
    actor_type      TEXT    NOT NULL,
    actor_id        BLOB    NOT NULL,
    recorded_at     INTEGER NOT NULL,
    PRIMARY KEY (company_id, position)
) WITHOUT ROWID;

CREATE INDEX audit_trail_by_actor ON audit_trail (company_id, actor_id, position);
CREATE INDEX audit_trail_by_type ON audit_trail (company_id, event_type, position);

-- Not part of the log: people who can sign in.
CREATE TABLE accounts (
    company_id     BLOB    NOT NULL,
    person_id      BLOB    NOT NULL,
    email          TEXT    NOT NULL,
    password_hash  TEXT,
    created_at     INTEGER NOT NULL,
    PRIMARY KEY (company_id, person_id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX accounts_by_email ON accounts (email, company_id);

-- Not part of the log: commands over many tokens that were accepted and are being carried out.
CREATE TABLE operations (
    company_id    BLOB    NOT NULL,
    operation_id  BLOB    NOT NULL,
    request       TEXT    NOT NULL,
    state         TEXT    NOT NULL,
    matched       INTEGER NOT NULL,
    done          INTEGER NOT NULL,
    started_at    INTEGER NOT NULL,
    finished_at   INTEGER,
    PRIMARY KEY (company_id, operation_id)
) WITHOUT ROWID;
