-- name: unfinished_documents
SELECT coalesce(sum(documents_total - documents_signed - documents_failed), 0)::bigint
FROM operations WHERE instance = $1 AND status IN (1, 3);

-- name: mark_fetched
WITH fetched AS (
    UPDATE operations SET fetched_at = now()
    WHERE client_service = $1 AND id = ANY ($2::bigint[]) AND status IN (2, 4) AND fetched_at IS NULL
    RETURNING *
)
INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
SELECT id, instance, payload_id, 3, documents_signed, documents_failed, client_service, '' FROM fetched;

-- name: purgeable
-- By the database's clock: $2 seconds after it was fetched whole, $3 after its end.
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE instance = $1 AND NOT payload_purged AND status IN (2, 4)
  AND (fetched_at <= now() - $2 * interval '1 second' OR finished_at <= now() - $3 * interval '1 second')
ORDER BY finished_at
LIMIT 500;

-- name: purgeable_for_room
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE instance = $1 AND NOT payload_purged AND status IN (2, 4) AND fetched_at IS NOT NULL
ORDER BY fetched_at
LIMIT 500;

-- name: mark_purged
-- An unfinished operation is never touched, whatever the list says.
WITH purged AS (
    UPDATE operations SET payload_purged = true
    WHERE id = ANY ($1::bigint[]) AND status IN (2, 4) AND NOT payload_purged
    RETURNING *
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
    SELECT id, instance, payload_id, 4, documents_signed, documents_failed, client_service, '' FROM purged
)
SELECT id, payload_id, payload_record, further_payloads FROM purged;

-- name: free_references
DELETE FROM external_references r USING operations o
WHERE o.id = r.operation_id AND o.payload_purged AND o.status IN (2, 4)
  AND o.finished_at <= now() - $1 * interval '1 second';

-- name: document_months
SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'documents'::regclass
  AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - $1 * interval '1 second'
ORDER BY 1;

-- name: drop_documents
SELECT drop_documents($1);

-- name: signature_days
-- Days that are over and have a partition of signatures.
SELECT to_date(right(c.relname, 10), 'YYYY_MM_DD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'signatures'::regclass
  AND (to_date(right(c.relname, 10), 'YYYY_MM_DD') + 1)::timestamp AT TIME ZONE 'UTC' <= now()
ORDER BY 1;

-- name: drop_signatures
SELECT drop_signatures($1);

-- name: make_partition
SELECT make_partition($1);

-- name: clock
SELECT clock_timestamp() AS now, h.* FROM (SELECT 1) one LEFT JOIN housekeeping h ON h.instance = $1;

-- name: note_clock
INSERT INTO housekeeping (instance, boot_id, uptime_seconds, seen_at, purge_not_before)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (instance) DO UPDATE
SET boot_id = $2, uptime_seconds = $3, seen_at = $4, purge_not_before = $5;
