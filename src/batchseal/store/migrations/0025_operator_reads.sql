-- An operator's connection sees all rows, as before. But for each list of documents it first collected the ids of all operations,
-- since the policy of callers comes first, and asks whether the operation of the row can be seen. So what needs no such question
-- stands before it. That an operator's connection writes nothing, its policies of migration 0017 still say.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['documents', 'signatures', 'evidence_records'] LOOP
        EXECUTE format('ALTER POLICY one_client_service ON %I USING (
            current_setting(''batchseal.scope'', true) IN (''*'', ''operator'')
            OR EXISTS (SELECT FROM operations o WHERE o.id = operation_id))', name);
    END LOOP;
END $$;
