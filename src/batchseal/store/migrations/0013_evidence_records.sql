-- Evidence records (RFC 4998): one time stamp over all signed documents of an operation, for those who ask for it. A row comes with
-- the end of its operation. Its partitions come and go with those of `signatures`, so that a purge leaves no dead rows.
ALTER TABLE operations ADD COLUMN evidence_record boolean NOT NULL DEFAULT false;  -- whether one was asked for

CREATE TABLE evidence_records (
    operation_id bigint      NOT NULL,
    asked_at     timestamptz NOT NULL,             -- the end of the operation: from then on the record is waited for
    ended_at     timestamptz,                      -- when the record was there, or was given up
    next_try_at  timestamptz,                      -- nobody works on it before this
    instance     uuid        NOT NULL,             -- the one that holds the payload
    day          date        NOT NULL,             -- of the operation's created_at (UTC), as in `signatures`
    fence        integer     NOT NULL DEFAULT 1,   -- grows with each claim, and where documents are signed anew
    tries        integer     NOT NULL DEFAULT 0,
    state        smallint    NOT NULL DEFAULT 1,   -- 1: to be made, 2: made, 3: given up
    ordinals     integer[]   NOT NULL DEFAULT '{}',
    digests      bytea       NOT NULL DEFAULT '',  -- SHA-256 of the signed documents with these ordinals, one after the other
    token        bytea       NOT NULL DEFAULT '',  -- the time stamp (DER) over the root of their tree; empty without documents
    PRIMARY KEY (operation_id, day)
) PARTITION BY RANGE (day);

-- This index holds only records that are still to be made.
CREATE INDEX evidence_records_to_make ON evidence_records (instance, operation_id) WHERE state = 1;

ALTER TABLE evidence_records ALTER COLUMN digests SET STORAGE EXTERNAL;
ALTER TABLE evidence_records ALTER COLUMN token SET STORAGE EXTERNAL;

ALTER TABLE evidence_records ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_client_service ON evidence_records USING (
    current_setting('batchseal.scope', true) = '*'
    OR EXISTS (SELECT FROM operations o WHERE o.id = operation_id)
);

-- As before, and the partition of evidence records with it.
CREATE OR REPLACE FUNCTION make_signatures_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    parent text;
    name text;
BEGIN
    FOREACH parent IN ARRAY ARRAY['signatures', 'validation_materials', 'evidence_records'] LOOP
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
    EXECUTE format('DROP TABLE IF EXISTS %I', 'evidence_records' || to_char(day, '_YYYY_MM_DD'));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'validation_materials' || to_char(day, '_YYYY_MM_DD'));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'signatures' || to_char(day, '_YYYY_MM_DD'));
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
