-- The read models. Everything here but `last_used_at` can be rebuilt from the events. Texts that are
-- ordered or searched go by code points, as on SQLite. The indexes by position are what the other
-- processes follow.

-- How far each projection that runs behind the log has come, per company. A row, locked, is the
-- right to run that projection of that company.
CREATE TABLE checkpoints (
    company_id  uuid   NOT NULL,
    projection  text   COLLATE "C" NOT NULL,
    version     bigint NOT NULL,
    position    bigint NOT NULL,
    PRIMARY KEY (company_id, projection)
) WITH (fillfactor = 50);

CREATE TABLE companies (
    company_id          uuid   NOT NULL PRIMARY KEY,
    name                text   COLLATE "C" NOT NULL,
    oauth_app_enabled   bigint NOT NULL,
    policy              text   NOT NULL,
    created_at          bigint NOT NULL,
    version             bigint NOT NULL,
    position            bigint NOT NULL
);

CREATE TABLE tokens (
    company_id           uuid   NOT NULL,
    token_id             uuid   NOT NULL,
    name                 text   COLLATE "C" NOT NULL,
    scopes               text   COLLATE "C" NOT NULL,
    status               text   COLLATE "C" NOT NULL,
    client_id            uuid,
    term                 bigint NOT NULL,
    digest               bytea  NOT NULL,
    hint                 text   NOT NULL,
    expires_at           bigint NOT NULL,
    issued_at            bigint NOT NULL,
    previous_digest      bytea,
    previous_expires_at  bigint,
    previous_issued_at   bigint,
    created_at           bigint NOT NULL,
    created_by_type      text   NOT NULL,
    created_by_id        uuid   NOT NULL,
    created_position     bigint NOT NULL,
    refreshed_at         bigint,
    deleted_at           bigint,
    version              bigint NOT NULL,
    position             bigint NOT NULL,
    PRIMARY KEY (company_id, token_id)
);

CREATE INDEX tokens_by_creation ON tokens (company_id, created_at, token_id);
CREATE INDEX tokens_by_position ON tokens (company_id, position);
CREATE INDEX tokens_due ON tokens (expires_at) WHERE status = 'active';

-- Not part of the log: when a token was last seen to be used, sampled.
CREATE TABLE token_uses (
    company_id    uuid   NOT NULL,
    token_id      uuid   NOT NULL,
    last_used_at  bigint NOT NULL,
    PRIMARY KEY (company_id, token_id)
) WITH (fillfactor = 80);

CREATE TABLE keys (
    company_id           uuid   NOT NULL,
    key_id               uuid   NOT NULL,
    name                 text   COLLATE "C" NOT NULL,
    scopes               text   NOT NULL,
    status               text   COLLATE "C" NOT NULL,
    term                 bigint NOT NULL,
    digest               bytea  NOT NULL,
    hint                 text   NOT NULL,
    expires_at           bigint NOT NULL,
    previous_digest      bytea,
    previous_expires_at  bigint,
    created_at           bigint NOT NULL,
    created_by_type      text   NOT NULL,
    created_by_id        uuid   NOT NULL,
    created_position     bigint NOT NULL,
    refreshed_at         bigint,
    deleted_at           bigint,
    version              bigint NOT NULL,
    position             bigint NOT NULL,
    PRIMARY KEY (company_id, key_id)
);

CREATE INDEX keys_by_position ON keys (company_id, position);
CREATE INDEX keys_due ON keys (expires_at) WHERE status = 'active';

CREATE TABLE members (
    company_id  uuid   NOT NULL,
    member_id   uuid   NOT NULL,
    person_id   uuid   NOT NULL,
    role        text   NOT NULL,
    added_at    bigint NOT NULL,
    version     bigint NOT NULL,
    position    bigint NOT NULL,
    PRIMARY KEY (company_id, member_id)
);

CREATE TABLE clients (
    company_id           uuid   NOT NULL,
    client_id            uuid   NOT NULL,
    name                 text   COLLATE "C" NOT NULL,
    scopes               text   NOT NULL,
    digest               bytea  NOT NULL,
    hint                 text   NOT NULL,
    previous_digest      bytea,
    previous_expires_at  bigint,
    created_at           bigint NOT NULL,
    rotated_at           bigint,
    deleted_at           bigint,
    version              bigint NOT NULL,
    position             bigint NOT NULL,
    PRIMARY KEY (company_id, client_id)
);

CREATE INDEX clients_by_position ON clients (company_id, position);

-- Thin: enough to find events by who, what and when; the content is joined from `events`.
CREATE TABLE audit_trail (
    company_id      uuid   NOT NULL,
    position        bigint NOT NULL,
    aggregate_type  text   NOT NULL,
    aggregate_id    uuid   NOT NULL,
    event_type      text   COLLATE "C" NOT NULL,
    actor_type      text   NOT NULL,
    actor_id        uuid   NOT NULL,
    recorded_at     bigint NOT NULL,
    PRIMARY KEY (company_id, position)
);

CREATE INDEX audit_trail_by_actor ON audit_trail (company_id, actor_id, position);
CREATE INDEX audit_trail_by_type ON audit_trail (company_id, event_type, position);

-- Not part of the log: people who can sign in.
CREATE TABLE accounts (
    company_id     uuid   NOT NULL,
    person_id      uuid   NOT NULL,
    email          text   COLLATE "C" NOT NULL,
    password_hash  text,
    created_at     bigint NOT NULL,
    PRIMARY KEY (company_id, person_id)
);

CREATE UNIQUE INDEX accounts_by_email ON accounts (email, company_id);

-- Not part of the log: commands over many tokens that were accepted and are being carried out.
CREATE TABLE operations (
    company_id    uuid   NOT NULL,
    operation_id  uuid   NOT NULL,
    request       text   NOT NULL,
    state         text   NOT NULL,
    matched       bigint NOT NULL,
    done          bigint NOT NULL,
    started_at    bigint NOT NULL,
    finished_at   bigint,
    PRIMARY KEY (company_id, operation_id)
);

-- Where there are shards, all rows of a company live together.
DO $$
DECLARE
    known text;
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        FOREACH known IN ARRAY ARRAY['checkpoints', 'companies', 'tokens', 'token_uses', 'keys',
            'members', 'clients', 'audit_trail', 'accounts', 'operations'] LOOP
            PERFORM create_distributed_table(known, 'company_id', colocate_with => 'company_heads');
        END LOOP;
    END IF;
END
$$;
