-- Who this database is. A payload store that several instances share carries the same id, so that two databases never sweep the
-- payloads of each other. `sweeps` counts the sweeps, which tells a database that was restored from one that was not.
CREATE TABLE database_identity (
    is_one boolean PRIMARY KEY DEFAULT true CHECK (is_one),  -- there is one row
    id     uuid    NOT NULL DEFAULT gen_random_uuid(),
    sweeps bigint  NOT NULL DEFAULT 0
);
INSERT INTO database_identity DEFAULT VALUES;

ALTER TABLE database_identity ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON database_identity USING (current_setting('batchseal.scope', true) = '*');

-- The cluster that the database stands in. The timeline is that of the log that is written now (the first 8 of the 24 digits of the
-- name of its file), since the last checkpoint may be one of before a promotion. On a standby nothing is written.
CREATE FUNCTION cluster_state(OUT system_identifier bigint, OUT timeline bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.system_identifier,
           CASE WHEN pg_is_in_recovery() THEN c.timeline_id::bigint
                ELSE ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint END
    FROM pg_control_system() s, pg_control_checkpoint() c
$$;
