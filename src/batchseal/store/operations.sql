-- name: take_reference
INSERT INTO external_references (client_service, external_reference, operation_id)
VALUES ($1, $2, nextval(pg_get_serial_sequence('operations', 'id')))
ON CONFLICT DO NOTHING
RETURNING operation_id;

-- name: reference_holder
SELECT operation_id FROM external_references WHERE client_service = $1 AND external_reference = $2;

-- name: insert_operation
-- The clock is the database's, for the lease as well: instances may disagree about the time.
INSERT INTO operations (
    id, payload_id, client_service, external_reference, description, mode, instance, host, port,
    documents_total, documents_failed, return_signed_content, created_at, lease_holder, lease_until, fence
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
    date_trunc('milliseconds', now()), $7, now() + $13 * interval '1 second', 1
)
RETURNING *;

-- name: operation
SELECT * FROM operations WHERE client_service = $1 AND id = $2;

-- name: operations_with_reference
SELECT * FROM operations WHERE client_service = $1 AND external_reference = $2 ORDER BY id DESC;

-- name: live_payloads
SELECT payload_id FROM operations WHERE instance = $1 AND NOT payload_purged;

-- name: counts_by_status
SELECT status, count(*) AS operations, sum(documents_total) AS documents FROM operations GROUP BY status;

-- name: unfinished
SELECT count(*) AS operations,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds,
       pg_database_size(current_database()) AS database_bytes
FROM operations WHERE status IN (1, 3);

-- name: is_finished
SELECT status IN (2, 4) FROM operations WHERE id = $1;

-- name: reopen
-- A failed operation that its caller has handed in again. $3 documents are open again.
UPDATE operations
SET status = 1, finished_at = NULL, tries = 0, next_try_at = NULL, documents_failed = documents_failed - $3
WHERE id = $1 AND client_service = $2 AND status = 4 AND NOT payload_purged
RETURNING *;
