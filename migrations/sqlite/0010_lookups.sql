-- The operations that are not finished are looked for all the time; those that are stay.
CREATE INDEX operations_open ON operations (operation_id) WHERE finished_at IS NULL;

-- Finds the token of a secret that an OAuth client presents, among however many it ever got. Tokens
-- without a client cost nothing.
CREATE INDEX tokens_of_client_by_digest ON tokens (company_id, client_id, digest)
    WHERE client_id IS NOT NULL;
CREATE INDEX tokens_of_client_by_previous_digest ON tokens (company_id, client_id, previous_digest)
    WHERE client_id IS NOT NULL AND previous_digest IS NOT NULL;
