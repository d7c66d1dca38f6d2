-- name: database_state
-- Who this database is, the cluster that it stands in, and how many sweeps of the payload store there were.
SELECT i.id, i.sweeps, s.system_identifier, s.timeline FROM database_identity i, cluster_state() s;

-- name: begin_sweep
-- The same after one more sweep was counted.
WITH counted AS (UPDATE database_identity SET sweeps = sweeps + 1 RETURNING id, sweeps)
SELECT i.id, i.sweeps, s.system_identifier, s.timeline FROM counted i, cluster_state() s;

-- name: kept_identity
-- What must survive the deletion of everything: the payload stores carry this id.
SELECT id, sweeps FROM database_identity;

-- name: keep_identity
-- Gives a database whose tables were made anew the id that it had.
UPDATE database_identity SET id = $1, sweeps = $2;

-- name: live_payloads_of_all
-- The payloads that any instance must keep.
SELECT payload_id, payload_record, further_payloads FROM operations WHERE NOT payload_purged;

-- name: has_identity
-- Whether the database has such a table.
SELECT to_regclass('batchseal.database_identity') IS NOT NULL;
