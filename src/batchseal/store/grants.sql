-- name: grants
-- Lets the role that the service connects as use the tables. It owns none of them, and can only append to the audit trail.
-- What the role may already do is not granted again: each grant would be a new row of the catalog.
DO $$
DECLARE
    grantee regrole := $role${role}$role$;
    name text;
    wanted text;
BEGIN
    IF NOT has_schema_privilege(grantee, 'batchseal', 'USAGE') THEN
        GRANT USAGE ON SCHEMA batchseal TO {role};
    END IF;
    IF NOT has_sequence_privilege(grantee, 'operations_id_seq', 'USAGE') THEN
        GRANT USAGE ON SEQUENCE operations_id_seq TO {role};
    END IF;
    FOR name, wanted IN
        SELECT object, privilege
        FROM (VALUES
            ('operations', 'SELECT, INSERT, UPDATE'),
            ('database_identity', 'SELECT, UPDATE'),
            ('housekeeping', 'SELECT, INSERT, UPDATE'),
            ('time_stamp_sizes', 'SELECT, INSERT, UPDATE'),
            ('external_references', 'SELECT, INSERT, DELETE'),
            ('audit_pending', 'SELECT, INSERT, DELETE'),
            ('revocation_answers', 'SELECT, INSERT, UPDATE, DELETE'),
            ('login_failures', 'SELECT, INSERT, UPDATE, DELETE'),
            ('documents', 'SELECT, UPDATE'),
            ('signatures', 'SELECT, INSERT, UPDATE'),
            ('evidence_records', 'SELECT, INSERT, UPDATE'),
            ('audit', 'SELECT, INSERT'),
            ('audit_anchors', 'SELECT, INSERT'),
            ('audit_time_stamps', 'SELECT, INSERT'),
            ('audit_verified', 'SELECT, INSERT, UPDATE'),
            ('validation_materials', 'SELECT, INSERT'),
            ('instances', 'SELECT, INSERT, UPDATE, DELETE'),
            ('credential_lanes', 'SELECT, INSERT, UPDATE'),
            ('duties', 'SELECT, INSERT, UPDATE'),
            ('time_stamp_requests', 'SELECT, INSERT, UPDATE'),
            ('audit_actors', 'SELECT, INSERT'),
            ('consumption', 'SELECT, INSERT, UPDATE, DELETE'),
            ('samples', 'SELECT, INSERT, UPDATE, DELETE'),
            ('upstream_calls', 'SELECT, INSERT, DELETE'),
            ('credentials', 'SELECT, INSERT, UPDATE, DELETE'),
            ('operator_accounts', 'SELECT, INSERT, UPDATE, DELETE'),
            ('operator_sessions', 'SELECT, INSERT, UPDATE, DELETE'),
            ('webhook_endpoints', 'SELECT, INSERT, UPDATE, DELETE'),
            ('webhook_events', 'SELECT, INSERT, UPDATE, DELETE'),
            ('migrations', 'SELECT')
        ) AS tables (object, privileges), regexp_split_to_table(privileges, ', ') AS privilege
        UNION ALL
        SELECT inhrelid::regclass::text, 'INSERT'
        FROM pg_inherits WHERE inhparent IN ('documents'::regclass, 'audit'::regclass)
    LOOP
        IF NOT has_table_privilege(grantee, name, wanted) THEN
            EXECUTE format('GRANT %s ON %s TO %s', wanted, name, grantee);
        END IF;
    END LOOP;
END $$;

-- name: current_role
-- The role of this connection, and whether row security does not apply to it.
SELECT quote_ident(current_user) AS role, r.rolsuper OR r.rolbypassrls AS unbound
FROM pg_roles r WHERE r.rolname = current_user;
