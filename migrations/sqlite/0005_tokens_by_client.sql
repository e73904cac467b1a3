-- Finds the tokens that an OAuth client got: to delete them with it, and to find the one that a
-- client presents. Tokens without a client cost nothing.
CREATE INDEX tokens_by_client ON tokens (company_id, client_id, created_at, token_id)
    WHERE client_id IS NOT NULL;
