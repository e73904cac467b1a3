-- The ledger. Instants are microseconds since 1970-01-01T00:00:00Z.

-- One row per company: the lock that orders its ledger, and what a commit is checked against.
-- Half of each page is left free, so that a head moves within its page.
CREATE TABLE company_heads (
    company_id        uuid   NOT NULL PRIMARY KEY,
    last_position     bigint NOT NULL,
    last_recorded_at  bigint NOT NULL,
    company_sequence  bigint NOT NULL
) WITH (fillfactor = 50);

-- Append-only. `payload` and `metadata` keep their exact text, since it is hashed.
CREATE TABLE events (
    company_id          uuid   NOT NULL,
    aggregate_type      text   COLLATE "C" NOT NULL,
    aggregate_id        text   COLLATE "C" NOT NULL,
    sequence            bigint NOT NULL CHECK (sequence > 0),
    event_type          text   NOT NULL,
    event_version       text   NOT NULL,
    payload             json   NOT NULL,
    metadata            json   NOT NULL,
    position            bigint NOT NULL CHECK (position > 0),
    recorded_at         bigint NOT NULL,
    commit_id           uuid   NOT NULL,
    salt                bytea  NOT NULL,
    private_commitment  bytea,
    entry_hash          bytea  NOT NULL,
    PRIMARY KEY (aggregate_type, aggregate_id, sequence, company_id),
    UNIQUE (company_id, position)
);

-- What names or describes a person. It can be erased; the event keeps the commitment to it.
CREATE TABLE event_private (
    company_id  uuid   NOT NULL,
    position    bigint NOT NULL,
    salt        bytea  NOT NULL,
    data        text   NOT NULL,
    PRIMARY KEY (company_id, position)
);

-- The newest folded state of a long stream.
CREATE TABLE snapshots (
    company_id        uuid   NOT NULL,
    aggregate_type    text   COLLATE "C" NOT NULL,
    aggregate_id      text   COLLATE "C" NOT NULL,
    last_sequence     bigint NOT NULL,
    current_snapshot  bigint NOT NULL,
    payload           json   NOT NULL,
    PRIMARY KEY (company_id, aggregate_type, aggregate_id)
);

-- Not part of the log: what a repeated request is answered from, for a day.
CREATE TABLE idempotency_keys (
    company_id    uuid   NOT NULL,
    caller        text   NOT NULL,
    route         text   NOT NULL,
    key           text   NOT NULL,
    request_hash  bytea  NOT NULL,
    result        text   NOT NULL,
    at            bigint NOT NULL,
    PRIMARY KEY (company_id, caller, route, key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (company_id, at);

-- Where there are shards, all rows of a company live together. Shards have no such triggers as
-- below; there the service's role, which may only read and insert events, is what holds.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        PERFORM create_distributed_table('company_heads', 'company_id');
        PERFORM create_distributed_table('events', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('event_private', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('snapshots', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('idempotency_keys', 'company_id', colocate_with => 'company_heads');
    ELSE
        CREATE FUNCTION events_are_append_only() RETURNS trigger LANGUAGE plpgsql AS $body$
        BEGIN
            RAISE EXCEPTION 'events are append-only' USING ERRCODE = 'restrict_violation';
        END
        $body$;
        CREATE TRIGGER events_are_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events
            FOR EACH STATEMENT EXECUTE FUNCTION events_are_append_only();
    END IF;
END
$$;
