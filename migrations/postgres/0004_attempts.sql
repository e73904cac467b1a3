-- Not part of the log: refused requests, sign-ins and exports, the newest of each kind.
CREATE TABLE attempts (
    company_id  uuid    NOT NULL,
    kind        text    COLLATE "C" NOT NULL,
    at          bigint  NOT NULL,
    attempt_id  uuid    NOT NULL,
    actor_type  text,
    actor_id    uuid,
    method      text    NOT NULL,
    route       text    NOT NULL,
    status      bigint  NOT NULL,
    problem     text,
    request_id  text,
    ip          text,
    user_agent  text,
    PRIMARY KEY (company_id, kind, at, attempt_id)
);

-- Not part of the log: how many attempts were not kept, or no longer are.
CREATE TABLE attempts_dropped (
    company_id  uuid    NOT NULL,
    kind        text    COLLATE "C" NOT NULL,
    dropped     bigint  NOT NULL,
    PRIMARY KEY (company_id, kind)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'citus') THEN
        PERFORM create_distributed_table('attempts', 'company_id', colocate_with => 'company_heads');
        PERFORM create_distributed_table('attempts_dropped', 'company_id', colocate_with => 'company_heads');
    END IF;
END
$$;
