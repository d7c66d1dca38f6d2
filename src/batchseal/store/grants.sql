-- name: grants
-- Lets the role that the service connects as use the tables. It owns none of them, and can only append to the audit trail.
GRANT USAGE ON SCHEMA batchseal TO {role};
GRANT SELECT, INSERT, UPDATE ON operations, housekeeping, time_stamp_sizes TO {role};
GRANT SELECT, INSERT, DELETE ON external_references, audit_pending TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON revocation_answers TO {role};
GRANT SELECT, UPDATE ON documents TO {role};
GRANT SELECT, INSERT, UPDATE ON signatures, evidence_records TO {role};
GRANT SELECT, INSERT ON audit, audit_anchors, validation_materials TO {role};
GRANT SELECT ON migrations TO {role};
GRANT USAGE ON SEQUENCE operations_id_seq TO {role};
DO $$
DECLARE name text;
BEGIN
    FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent IN ('documents'::regclass, 'audit'::regclass) LOOP
        EXECUTE format('GRANT INSERT ON %s TO {role}', name);
    END LOOP;
END $$;

-- name: current_role
-- The role of this connection, and whether row security does not apply to it.
SELECT quote_ident(current_user) AS role, r.rolsuper OR r.rolbypassrls AS unbound
FROM pg_roles r WHERE r.rolname = current_user;
