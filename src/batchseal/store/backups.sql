-- name: is_being_backed_up
-- Whether somebody holds the lock of a backup ($1). It only looks: instances that purge in the same moment must not take each other
-- for a backup.
SELECT EXISTS (
    SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database() AND l.objsubid = 1
      AND l.classid = ($1::bigint >> 32)::oid AND l.objid = ($1::bigint & 4294967295)::oid);

-- name: begin_marking
-- Until the end of the transaction payloads are marked as purged ($1). Several may do so at once. A backup that begins waits.
SELECT pg_advisory_xact_lock_shared($1);

-- name: begin_backup
-- Holds the lock of a backup ($1) until the session ends. Several backups may run at once.
SELECT pg_advisory_lock_shared($1);

-- name: wait_for_marking
-- Returns once whoever was marking payloads as purged ($1) has committed. Who begins later sees the lock of the backup.
SELECT pg_advisory_lock($1);

-- name: marking_has_ended
-- Gives back what `wait_for_marking` took.
SELECT pg_advisory_unlock($1);

-- name: export_snapshot
-- The snapshot of this transaction, for another session to read the same.
SELECT pg_export_snapshot();

-- name: payloads_to_copy
-- What is backed up beside the rows: the payloads that rows name, in the order in which they came.
SELECT id, status, payload_id, payload_record, further_payloads FROM operations WHERE NOT payload_purged ORDER BY id;

-- name: stores_of_payloads
-- In which kinds of payload stores the payloads lie that are to be backed up; NULL is the folder of an instance.
SELECT DISTINCT payload_store FROM operations WHERE NOT payload_purged;

-- name: backup_counts
-- What a backup holds, for its manifest.
SELECT count(*) AS operations, count(*) FILTER (WHERE status IN (1, 3)) AS unfinished, coalesce(max(id), 0) AS last_id
FROM operations;

-- name: hold_unfinished
-- After a restore: what was unfinished in the backup waits for an operator. What was signed after the backup cannot be known. No
-- lease of before the backup counts, and the token of a caller that signed with its own is gone.
UPDATE operations SET held_at = now(), lease_holder = NULL, lease_until = NULL, fence = fence + 1
WHERE status IN (1, 3)
RETURNING id;

-- name: mark_not_backed_up
-- Marks results whose payload the backup could not hold any more, since it was purged while the backup was made.
UPDATE operations SET payload_purged = true WHERE id = ANY ($1::bigint[]) AND status IN (2, 4) RETURNING id;

-- name: end_backup
-- Gives the lock of a backup ($1) back.
SELECT pg_advisory_unlock_shared($1);
