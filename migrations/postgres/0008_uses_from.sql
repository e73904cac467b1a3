-- The address that a token was last used from: what would stop if it were deleted.
ALTER TABLE token_uses ADD COLUMN last_used_from text;
