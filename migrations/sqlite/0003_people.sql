-- What signing in takes, and what keeps companies' names apart. None of it is part of the log.
-- Accounts, links, sessions and names belong to the platform, whose identifier they carry.

-- What the person is called; none where nobody said.
ALTER TABLE accounts ADD COLUMN name TEXT;

CREATE INDEX members_by_person ON members (person_id);

-- Links that are good for one use: one per person and purpose, so that a newer one replaces the
-- older. Only the SHA-256 of the link's secret is kept.
CREATE TABLE links (
    company_id   BLOB    NOT NULL,
    person_id    BLOB    NOT NULL,
    purpose      TEXT    NOT NULL,
    digest       BLOB    NOT NULL,
    opens        BLOB,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    PRIMARY KEY (company_id, person_id, purpose)
) WITHOUT ROWID;

CREATE UNIQUE INDEX links_by_digest ON links (digest, company_id);

-- Sessions of the console. Only the SHA-256 of the cookie is kept.
CREATE TABLE sessions (
    company_id      BLOB    NOT NULL,
    digest          BLOB    NOT NULL,
    session_id      BLOB    NOT NULL,
    person_id       BLOB    NOT NULL,
    created_at      INTEGER NOT NULL,
    signed_in_at    INTEGER NOT NULL,
    seen_at         INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    ip              TEXT,
    user_agent      TEXT,
    entered         BLOB,
    member_company  BLOB,
    member_id       BLOB,
    role            TEXT,
    PRIMARY KEY (company_id, digest)
) WITHOUT ROWID;

CREATE INDEX sessions_by_person ON sessions (person_id, company_id);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- Which company a name belongs to. A name is reserved before its company is registered, and for
-- good: whoever else wants it is led to the same identifier, which can be registered once.
CREATE TABLE company_names (
    company_id  BLOB  NOT NULL,
    name        TEXT  NOT NULL,
    named       BLOB  NOT NULL,
    PRIMARY KEY (company_id, name)
) WITHOUT ROWID;

INSERT OR IGNORE INTO company_names (company_id, name, named)
SELECT X'00000000000070008000000000000000', name, company_id FROM companies;
