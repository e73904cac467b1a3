-- The company whose people gave out the link by which a password was set, and may know it: it lets
-- into no other company. None where an operator did, as for all that were set before.
ALTER TABLE accounts ADD COLUMN vouched_by BLOB;

-- The company that asked for a link; none where an operator did.
ALTER TABLE links ADD COLUMN asked_by BLOB;
