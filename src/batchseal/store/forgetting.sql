-- name: lost_operations
-- The unfinished operations whose payload lies in the folder of an instance.
SELECT id FROM operations WHERE instance = $1 AND payload_store IS NULL AND status IN (1, 3) ORDER BY id;

-- name: lost_payloads
-- Finished operations whose payload lies in the folder of an instance, and was not purged.
SELECT id FROM operations WHERE instance = $1 AND payload_store IS NULL AND NOT payload_purged AND status IN (2, 4)
ORDER BY id LIMIT 500;

-- name: has_instances
-- Whether the schema knows instances.
SELECT to_regclass('instances') IS NOT NULL;

-- name: forget_instance
-- Removes the row of an instance. If it is there after all, it notices and writes a new one.
DELETE FROM instances WHERE instance = $1;
