-- A drop of old partitions makes nobody fail, and nobody wait for long. It takes an exclusive lock on the whole table, and
-- whoever comes meanwhile waits behind it. A statement that waits for a second looks for a deadlock (deadlock_timeout),
-- and fails where it finds one: so a drop waits for less than that. And it locks tables in the order in which the end of
-- an operation does, so that neither has what the other one waits for. Where a drop has to wait for longer, as beside a
-- backup, it drops nothing, and the next round comes.

-- As in migration 0013, but for the order and the time.
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
    PERFORM set_config('lock_timeout', '300ms', true);
    EXECUTE format('DROP TABLE IF EXISTS %I', 'validation_materials' || to_char(day, '_YYYY_MM_DD'));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'signatures' || to_char(day, '_YYYY_MM_DD'));
    EXECUTE format('DROP TABLE IF EXISTS %I', 'evidence_records' || to_char(day, '_YYYY_MM_DD'));
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;

-- As in migration 0002, but for the time, and what becomes of a drop that has to wait: it was an error, and ended the round.
CREATE OR REPLACE FUNCTION drop_documents(month date) RETURNS boolean
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
    PERFORM set_config('lock_timeout', '300ms', true);
    EXECUTE format('DROP TABLE IF EXISTS %I', 'documents' || to_char(first, '_YYYY_MM'));
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;

-- As in migration 0017, and the same.
CREATE OR REPLACE FUNCTION drop_audit(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'audit' || to_char(first, '_YYYY_MM');
    anchored boolean;
BEGIN
    PERFORM set_config('lock_timeout', '300ms', true);
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', name);
    EXECUTE format('SELECT a.last_position = (SELECT max(position) FROM %I)
                       AND a.entries = (SELECT count(*) FROM %I)
                    FROM audit_anchors a WHERE a.month = $1', name, name) INTO anchored USING first;
    IF anchored IS NOT TRUE OR (first + interval '1 month') AT TIME ZONE 'UTC' > now() THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    DELETE FROM audit_actors a WHERE a.month = first;
    RETURN true;
EXCEPTION WHEN lock_not_available THEN
    RETURN false;
END $$;
