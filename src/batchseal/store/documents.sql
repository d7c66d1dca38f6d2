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
-- A document ends once: one that is not RECEIVED any more keeps its first result.
UPDATE documents d
SET status = o.status, sign_error = o.sign_error, cause = o.cause, additional_bytes = o.additional_bytes
FROM unnest($3::integer[], $4::smallint[], $5::smallint[], $6::text[], $7::integer[])
     AS o (ordinal, status, sign_error, cause, additional_bytes)
WHERE d.month = $2 AND d.operation_id = $1 AND d.ordinal = o.ordinal AND d.status = 1
RETURNING d.status;


-- name: reopen_documents
UPDATE documents SET status = 1, sign_error = 0, cause = ''
WHERE month = $2 AND operation_id = $1 AND status = 3 AND ordinal = ANY ($3::integer[])
RETURNING ordinal;
