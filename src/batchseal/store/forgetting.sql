-- name: lost_operations
-- The unfinished operations whose payload lies in the folder of an instance.
SELECT id FROM operations WHERE instance = $1 AND payload_store IS NULL AND status IN (1, 3) ORDER BY id;

-- name: free_held
-- An operation that is held after a restore, and whose payload lay in the folder of an instance that is lost, waits for no
-- decision any more: nobody could sign it.
UPDATE operations SET held_at = NULL WHERE instance = $1 AND payload_store IS NULL AND status IN (1, 3) AND held_at IS NOT NULL;

-- name: lost_payloads
-- Finished operations whose payload lies in the folder of an instance, and was not purged.
SELECT id FROM operations WHERE instance = $1 AND payload_store IS NULL AND NOT payload_purged AND status IN (2, 4)
ORDER BY id LIMIT 500;

-- name: has_instances
-- Whether the schema knows instances.
SELECT to_regclass('instances') IS NOT NULL;

-- name: drop_gone_instances
-- Removes the rows of instances that were not seen for $1 seconds and have left nothing that they alone can read, and no entry of
-- the audit trail that they alone chain: those of pods, which begin with a new folder each time.
DELETE FROM instances i
WHERE i.seen_at <= now() - $1 * interval '1 second' AND NOT EXISTS (
    SELECT FROM operations o WHERE o.instance = i.instance AND NOT o.payload_purged AND o.payload_store IS NULL)
AND NOT EXISTS (
    SELECT FROM audit_pending a JOIN operations o ON o.id = a.operation_id
    WHERE a.instance = i.instance AND o.payload_store IS NULL)
RETURNING instance;

-- name: forget_instance
-- Removes the row of an instance. If it is there after all, it notices and writes a new one.
DELETE FROM instances WHERE instance = $1;
