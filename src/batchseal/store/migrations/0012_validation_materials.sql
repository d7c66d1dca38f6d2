-- Validation material (certificates, OCSP responses, CRLs) of signatures of level LT and LTA. Many documents share it, so rows of
-- `signatures` refer to it by its digest, and it is stored once a day. Its partitions come and go with those of `signatures`.
CREATE TABLE validation_materials (
    day     date  NOT NULL,   -- of the operation's created_at (UTC), as in `signatures`
    digest  bytea NOT NULL,   -- SHA-256 of the content
    content bytea NOT NULL,   -- msgpack, formats/material.py
    PRIMARY KEY (digest, day)
) PARTITION BY RANGE (day);

ALTER TABLE validation_materials ALTER COLUMN content SET STORAGE EXTERNAL;

-- What it holds is public, and who reads it knows its digest from a row that it may see. So any client service may read it, and
-- only what sees all rows may write it.
ALTER TABLE validation_materials ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON validation_materials USING (current_setting('batchseal.scope', true) = '*');
CREATE POLICY for_readers ON validation_materials FOR SELECT USING (
    nullif(current_setting('batchseal.client_service', true), '') IS NOT NULL
);

-- As before, and the partition of validation material with it.
CREATE OR REPLACE FUNCTION make_signatures_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    parent text;
    name text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['signatures', 'validation_materials'] LOOP
        name := parent || to_char(day, '_YYYY_MM_DD');
        CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'batchseal'::regnamespace);
        PERFORM pg_advisory_xact_lock(x'6261746368736502'::bigint);
        CONTINUE WHEN EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'batchseal'::regnamespace);
        -- It is made apart and then attached: readers and writers of other partitions do not wait.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name, parent);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, day, day + 1);
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION drop_signatures(day date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
BEGIN
    IF current_setting('batchseal.scope', true) IS DISTINCT FROM '*' THEN
        RAISE EXCEPTION 'only what sees all rows may judge that none is needed';
    END IF;
    IF (day + 1)::timestamp AT TIME ZONE 'UTC' + interval '1 hour' > now() OR EXISTS (
        SELECT FROM operations
        WHERE NOT payload_purged AND created_at >= day::timestamp AT TIME ZONE 'UTC'
          AND created_at < (day + 1)::timestamp AT TIME ZONE 'UTC') THEN
        RETURN false;
    END IF;
    -- It waits for running queries, but not for long: the next round comes.
    PERFORM set_config('lock_timeout', '2s', true);
    EXECUTE format('DROP TABLE IF EXISTS %I', 'validation_materials' || to_char(day, '_YYYY_MM_DD'));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'signatures' || to_char(day, '_YYYY_MM_DD'));
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
