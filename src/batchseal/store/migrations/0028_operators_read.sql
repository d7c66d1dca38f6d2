-- Row security asks once in a statement, and not once for each row, whether an operator reads. Of operations it asks that first:
-- PostgreSQL tries the policies of a table in the descending order of their names, so the name comes before `one_client_service`.
ALTER POLICY for_operators ON operations USING ((SELECT current_setting('batchseal.scope', true)) = 'operator');
ALTER POLICY for_operators ON operations RENAME TO operators_read;
ALTER POLICY one_client_service ON documents USING (
    (SELECT current_setting('batchseal.scope', true)) IN ('*', 'operator')
    OR EXISTS (SELECT FROM operations o WHERE o.id = operation_id)
);

-- The connections of operators plan each statement for its values. The twenty steps of this search need one plan.
ALTER FUNCTION operation_id_at(timestamptz) SET plan_cache_mode = 'auto';
