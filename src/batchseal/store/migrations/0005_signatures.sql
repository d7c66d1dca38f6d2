-- needs 0005
-- Signatures, time stamps and tries move from the payloads into a table. An earlier release would look for them in the payload
-- and report signed documents as damaged, so it must not start on this database.

-- What the payload store needs to find the payload (payloads/interface.py). Empty in rows of release 0.1, whose payloads are
-- found by payload_id alone.
ALTER TABLE operations ADD COLUMN payload_record bytea NOT NULL DEFAULT '';
-- Records of the payloads with what was prepared after the upload, the oldest first.
ALTER TABLE operations ADD COLUMN further_payloads bytea[] NOT NULL DEFAULT '{}';

-- One row for each document that has been in a sign call. The columns are ordered by falling width and none may be null.
CREATE TABLE signatures (
    operation_id bigint   NOT NULL,
    ordinal      integer  NOT NULL,
    day          date     NOT NULL,             -- of the operation's created_at (UTC)
    tries        smallint NOT NULL DEFAULT 0,   -- sign calls that the document was in
    signature    bytea    NOT NULL DEFAULT '',  -- the signature value; empty if there is none yet
    evidence     bytea    NOT NULL DEFAULT '',  -- time stamps and whatever else the level needs (store/columns.py)
    PRIMARY KEY (operation_id, ordinal, day)
) PARTITION BY RANGE (day);

ALTER TABLE signatures ALTER COLUMN signature SET STORAGE EXTERNAL;
ALTER TABLE signatures ALTER COLUMN evidence SET STORAGE EXTERNAL;

ALTER TABLE signatures ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_client_service ON signatures USING (
    current_setting('batchseal.scope', true) = '*'
    OR EXISTS (SELECT FROM operations o WHERE o.id = operation_id)
);

-- Each day has a partition, which is dropped as a whole. So a purge leaves no dead rows.
CREATE FUNCTION make_signatures_partition(day date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    name text := 'signatures' || to_char(day, '_YYYY_MM_DD');
BEGIN
    IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'batchseal'::regnamespace) THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(x'6261746368736502'::bigint);
    IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'batchseal'::regnamespace) THEN
        RETURN;
    END IF;
    -- It is made apart and then attached: readers and writers of other partitions do not wait.
    EXECUTE format('CREATE TABLE %I (LIKE signatures INCLUDING ALL)', name);
    EXECUTE format('ALTER TABLE signatures ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, day, day + 1);
END $$;

-- Returns true if the partition was dropped, false if an operation of the day is unfinished or still has its payload, or if
-- somebody reads the partition for long (a backup). The day must be over for an hour: a registration may still be under way when
-- its day ends, and a clock may be set back by less than housekeeping notices.
CREATE FUNCTION drop_signatures(day date) RETURNS boolean
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
    EXECUTE format('DROP TABLE IF EXISTS %I', 'signatures' || to_char(day, '_YYYY_MM_DD'));
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
