-- What an operator follows an operation by, and what is held after a restore.

ALTER TABLE operations
    ADD COLUMN request_id   text,         -- of the request that brought it, as the log shows it
    ADD COLUMN trace_parent text,         -- where that request stands in a trace (W3C Trace Context); NULL: in none
    ADD COLUMN held_at      timestamptz;  -- it was unfinished in a backup that was restored then, and waits for an operator

-- Time stamps over the last link of the audit chain. Whoever owns the database can write the chain anew, but no time stamp of an
-- authority over it. They are append-only, like the chain.
CREATE TABLE audit_time_stamps (
    position  bigint      PRIMARY KEY,  -- of the entry whose link is stamped
    link      bytea       NOT NULL,     -- the SHA-256 that the token is about
    at        timestamptz NOT NULL,     -- the time in the token
    token     bytea       NOT NULL      -- RFC 3161, DER
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_time_stamps FOR EACH ROW EXECUTE FUNCTION refuse_change();

ALTER TABLE audit_time_stamps ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON audit_time_stamps USING (current_setting('batchseal.scope', true) = '*');
