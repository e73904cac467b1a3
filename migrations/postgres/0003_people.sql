-- What signing in takes, and what keeps companies' names apart. None of it is part of the log.
-- Accounts, links, sessions and names belong to the platform, whose identifier they carry.

-- What the person is called; none where nobody said.
ALTER TABLE accounts ADD COLUMN name text;

CREATE INDEX members_by_person ON members (person_id);

-- Links that are good for one use: one per person and purpose, so that a newer one replaces the
-- older. Only the SHA-256 of the link's secret is kept.
CREATE TABLE links (
    company_id   uuid   NOT NULL,
    person_id    uuid   NOT NULL,
    purpose      text   NOT NULL,
    digest       bytea  NOT NULL,
    opens        uuid,
    created_at   bigint NOT NULL,
    expires_at   bigint NOT NULL,
    PRIMARY KEY (company_id, person_id, purpose)
);

CREATE UNIQUE INDEX links_by_digest ON links (digest, company_id);

-- Sessions of the console. Only the SHA-256 of the cookie is kept.
CREATE TABLE sessions (
    company_id      uuid   NOT NULL,
    digest          bytea  NOT NULL,
    session_id      uuid   NOT NULL,
    person_id       uuid   NOT NULL,
    created_at      bigint NOT NULL,
    signed_in_at    bigint NOT NULL,
    seen_at         bigint NOT NULL,
    expires_at      bigint NOT NULL,
    ip              text,
    user_agent      text,
    entered         uuid,
    member_company  uuid,
    member_id       uuid,
    role            text,
    PRIMARY KEY (company_id, digest)
);

CREATE INDEX sessions_by_person ON sessions (person_id, company_id);
CREATE INDEX sessions_by_end ON sessions (expires_at);

-- Which company a name belongs to. A name is reserved before its company is registered, and for
-- good: whoever else wants it is led to the same identifier, which can be registered once.
CREATE TABLE company_names (
    company_id  uuid  NOT NULL,
    name        text  COLLATE "C" NOT NULL,
    named       uuid  NOT NULL,
    PRIMARY KEY (company_id, name)
);

INSERT INTO company_names (company_id, name, named)
SELECT '00000000-0000-7000-8000-000000000000', name, company_id FROM companies
ON CONFLICT DO NOTHING;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        PERFORM create_distributed_table('links', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('sessions', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('company_names', 'company_id', colocate_with => 'company_heads');
    END IF;
END
$$;
