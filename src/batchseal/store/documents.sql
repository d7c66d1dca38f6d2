-- name: documents
SELECT ordinal, external_reference, name, content_type, status, sign_error, cause, content_bytes, additional_bytes
FROM documents
WHERE month = $2 AND operation_id = $1
ORDER BY ordinal;

-- name: operation_of_document
-- The key narrows, the text decides: two references may share a key.
SELECT d.operation_id
FROM documents d JOIN operations o ON o.id = d.operation_id
WHERE d.reference_key = $3 AND d.external_reference = $2 AND o.client_service = $1
ORDER BY d.operation_id DESC
LIMIT 1;

-- name: record_outcomes
-- A document ends once: one that is not RECEIVED any more keeps its first result. One statement, one round trip: the row of
-- the operation is locked, so that its fence holds until the commit, which waits for no sync (see `claim`).
WITH held AS (
    SELECT id, set_config('synchronous_commit', 'off', true) FROM operations
    WHERE id = $1 AND fence = $8 AND status IN (1, 3) AND lease_holder IS NOT NULL
    FOR UPDATE
), ended AS (
    UPDATE documents d
    SET status = o.status, sign_error = o.sign_error, cause = o.cause, additional_bytes = o.additional_bytes
    FROM held, unnest($3::integer[], $4::smallint[], $5::smallint[], $6::text[], $7::integer[])
         AS o (ordinal, status, sign_error, cause, additional_bytes)
    WHERE d.month = $2 AND d.operation_id = held.id AND d.ordinal = o.ordinal AND d.status = 1
    RETURNING d.status
)
UPDATE operations
SET documents_signed = documents_signed + n.signed, documents_failed = documents_failed + n.failed
FROM held, (SELECT count(*) FILTER (WHERE status = 2) AS signed, count(*) FILTER (WHERE status <> 2) AS failed FROM ended) n
WHERE operations.id = held.id
RETURNING operations.id;

-- name: reopen_documents
UPDATE documents SET status = 1, sign_error = 0, cause = ''
WHERE month = $2 AND operation_id = $1 AND status = 3 AND ordinal = ANY ($3::integer[])
RETURNING ordinal;
