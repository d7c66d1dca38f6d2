-- Row security, as a second check behind the WHERE of every statement: a connection that serves a caller sees only the rows of
-- that caller, whatever the statement says. Such a connection sets `batchseal.client_service`. A connection that works for all
-- callers sets `batchseal.scope = '*'`. One that sets neither sees nothing.

CREATE FUNCTION may_see(owner text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT current_setting('batchseal.scope', true) = '*'
        OR owner = nullif(current_setting('batchseal.client_service', true), '')
$$;

ALTER TABLE operations ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_client_service ON operations USING (may_see(client_service));

ALTER TABLE external_references ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_client_service ON external_references USING (may_see(client_service));

ALTER TABLE documents ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_client_service ON documents USING (
    current_setting('batchseal.scope', true) = '*'
    OR EXISTS (SELECT FROM operations o WHERE o.id = operation_id)
);

ALTER TABLE audit_pending ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY written_with_its_operation ON audit_pending FOR INSERT WITH CHECK (may_see(client_service));
CREATE POLICY for_the_service ON audit_pending USING (current_setting('batchseal.scope', true) = '*');

ALTER TABLE audit ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON audit USING (current_setting('batchseal.scope', true) = '*');
