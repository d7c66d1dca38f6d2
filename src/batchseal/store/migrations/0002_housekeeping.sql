-- What housekeeping needs to remove old data: payloads that were fetched, partitions of past months, references after ten years.

ALTER TABLE operations ADD COLUMN fetched_at timestamptz;  -- when the complete result was fetched

-- This index holds only operations that still have a payload.
CREATE INDEX operations_with_payload ON operations (instance, finished_at) WHERE NOT payload_purged;

-- What each instance noted of the database's clock and of its own uptime. If the clock has jumped, purging is suspended.
CREATE TABLE housekeeping (
    instance         uuid PRIMARY KEY,
    boot_id          text             NOT NULL,
    uptime_seconds   double precision NOT NULL,
    seen_at          timestamptz      NOT NULL,
    purge_not_before timestamptz
);

-- Functions that make and drop partitions as the owner of the tables, for the role of the service, which owns nothing.
CREATE FUNCTION make_partition(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    bounds text := format('FOR VALUES FROM (%L) TO (%L)', first, (first + interval '1 month')::date);
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['documents', 'audit'] LOOP
        IF EXISTS (SELECT FROM pg_class WHERE relname = name || to_char(first, '_YYYY_MM')
                                          AND relnamespace = 'batchseal'::regnamespace) THEN
            CONTINUE;
        END IF;
        PERFORM pg_advisory_xact_lock(x'6261746368736502'::bigint);
        IF EXISTS (SELECT FROM pg_class WHERE relname = name || to_char(first, '_YYYY_MM')
                                          AND relnamespace = 'batchseal'::regnamespace) THEN
            CONTINUE;
        END IF;
        -- Made apart and then attached: readers and writers of other partitions do not notice.
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', name || to_char(first, '_YYYY_MM'), name);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I %s', name, name || to_char(first, '_YYYY_MM'), bounds);
        EXECUTE format('GRANT INSERT ON %I TO %I', name || to_char(first, '_YYYY_MM'), session_user);
    END LOOP;
END $$;

-- Returns true if the partition was dropped, false if an operation of the month is unfinished or still has its payload.
CREATE FUNCTION drop_documents(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
BEGIN
    IF current_setting('batchseal.scope', true) IS DISTINCT FROM '*' THEN
        RAISE EXCEPTION 'only what sees all rows may judge that none is needed';
    END IF;
    IF (first + interval '1 month') AT TIME ZONE 'UTC' > now() OR EXISTS (
        SELECT FROM operations
        WHERE NOT payload_purged AND created_at >= first::timestamp AT TIME ZONE 'UTC'
          AND created_at < (first + interval '1 month') AT TIME ZONE 'UTC') THEN
        RETURN false;
    END IF;
    -- Waits for running queries on it, not for long: the next round comes.
    PERFORM set_config('lock_timeout', '2s', true);
    EXECUTE format('DROP TABLE IF EXISTS %I', 'documents' || to_char(first, '_YYYY_MM'));
    RETURN true;
END $$;
