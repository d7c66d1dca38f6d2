-- The second lock behind every WHERE: a connection that serves a caller sees that caller's rows, whatever it asks.
-- It says so in `batchseal.client_service`; what works for all says `batchseal.scope = '*'`; one that says neither sees nothing.

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
