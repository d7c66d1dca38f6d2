-- name: operator_role
-- Makes the role of operators for a role of the service, if that is possible, and lets it read what an operator may see. It reads no
-- signature value, no key, no grant, and nothing that leads to a payload, and it can write nothing: it calls functions. Whoever
-- runs this without the right to make roles (CREATEROLE) needs the role to be there. What was granted before is not granted again.
DO $$
DECLARE
    -- The cast of a regrole to a text would quote a name such as "batch-seal".
    service name := (SELECT rolname FROM pg_roles WHERE oid = $role${role}$role$::regrole);
    operator name := left(service, 54) || '_operator';
    one record;
    -- Since PostgreSQL 16, who makes a role is a member of it that may not act as it.
    acting text := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = operator) THEN
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', operator);
        EXCEPTION
            WHEN insufficient_privilege THEN RETURN;
            WHEN duplicate_object OR unique_violation THEN NULL;  -- somebody else has just made it
        END;
    END IF;
    IF NOT pg_has_role(service, operator, acting) THEN
        BEGIN
            EXECUTE format('GRANT %I TO %I', operator, service);
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
    IF NOT has_schema_privilege(operator, 'batchseal', 'USAGE') THEN
        EXECUTE format('GRANT USAGE ON SCHEMA batchseal TO %I', operator);
    END IF;
    -- Who may not connect may not ask for the size of the database either, which PUBLIC may unless an administrator took that away.
    IF NOT has_database_privilege(operator, current_database(), 'CONNECT') THEN
        BEGIN
            EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), operator);
        EXCEPTION WHEN insufficient_privilege THEN NULL;
        END;
    END IF;
    FOR one IN
        SELECT shown.name, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM (VALUES
            ('operations', '{payload_record, further_payloads}'),
            ('documents', '{}'),
            ('signatures', '{signature, evidence}'),
            ('evidence_records', '{ordinals, digests, token}'),
            ('audit', '{}'), ('audit_pending', '{}'), ('audit_actors', '{}'), ('audit_anchors', '{}'),
            ('instances', '{}'), ('credential_lanes', '{}'), ('duties', '{}'), ('housekeeping', '{}'),
            ('time_stamp_requests', '{}'), ('time_stamp_sizes', '{}'),
            ('consumption', '{}'), ('samples', '{}'), ('upstream_calls', '{}'),
            ('credentials', '{grant_value}'),
            ('audit_verified', '{}'),
            ('webhook_endpoints', '{target}'), ('webhook_events', '{}'),
            ('migrations', '{}')
        ) AS shown (name, but)
        JOIN pg_attribute a ON a.attrelid = ('batchseal.' || shown.name)::regclass AND a.attnum > 0 AND NOT a.attisdropped
        WHERE a.attname <> ALL (shown.but::name[])
          AND NOT has_column_privilege(operator, a.attrelid, a.attnum, 'SELECT')
        GROUP BY shown.name
    LOOP
        EXECUTE format('GRANT SELECT (%s) ON %I TO %I', one.columns, one.name, operator);
    END LOOP;
    FOR one IN
        SELECT p.oid::regprocedure::text AS name FROM pg_proc p
        WHERE p.pronamespace = 'batchseal'::regnamespace
          AND p.proname IN ('operator_retry', 'operator_cancel', 'operator_purge', 'operator_note', 'operator_resume',
                            'operator_redeliver', 'operator_verified', 'operator_accept_chain')
          AND NOT has_function_privilege(operator, p.oid, 'EXECUTE')
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', one.name, operator);
    END LOOP;
END $$;

-- name: find_operator_role
-- The operator's role that belongs to the role of this connection, both names as statements take them, and whether this one may
-- act as it.
SELECT r.name AS role, quote_ident(r.name) AS quoted, quote_ident(session_user) AS service,
       CASE WHEN to_regrole(quote_ident(r.name)) IS NULL THEN false
            ELSE pg_has_role(session_user, r.name,
                             CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)
       END AS usable,
       EXISTS (SELECT FROM migrations WHERE number = 23) AS is_migrated
FROM (SELECT left(session_user, 54) || '_operator') r (name);
