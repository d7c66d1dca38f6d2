-- Row security asks first whether an operator reads, and asks it once in a statement and not once for each row. PostgreSQL tries the
-- policies of a table in the descending order of their names, so that of operators has a name that comes before `one_client_service`.
ALTER POLICY for_operators ON operations USING ((SELECT current_setting('batchseal.scope', true)) = 'operator');
ALTER POLICY for_operators ON operations RENAME TO operators_read;
