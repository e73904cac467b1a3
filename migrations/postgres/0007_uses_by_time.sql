-- Finds tokens in the order of their last use. Uses are not written with commands, so that it costs
-- no creation anything.
CREATE INDEX token_uses_by_time ON token_uses (company_id, last_used_at, token_id);
