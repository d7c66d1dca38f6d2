-- name: durability
-- What keeps a commit that this service was told of: on this server, and where another one follows it. Whoever has not the rights
-- of pg_read_all_stats sees how many servers follow, and no more of them: `follows` is then null. A backup that is being taken
-- follows nothing.
SELECT pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on' AS only_reads,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') = 'on' AS fsync,
       btrim(current_setting('synchronous_standby_names')) AS standby_names,
       count(*) FILTER (WHERE state IS DISTINCT FROM 'backup') AS followers,
       bool_or(sync_state IN ('sync', 'quorum')) AS follows
FROM pg_stat_replication;
