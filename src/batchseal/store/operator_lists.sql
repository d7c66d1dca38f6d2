-- name: operator_operations
-- A page of operations: a walk along an index that looks at so many rows (`scanned`), and what of them is meant.
SELECT * FROM (SELECT {columns} FROM operations o WHERE {index} ORDER BY {order} LIMIT {scanned}) looked
WHERE {rows} ORDER BY {outer_order} LIMIT {limit};

-- name: operator_operations_edge
-- The last row that such a walk looks at.
SELECT o.id, o.external_reference, o.created_at FROM operations o WHERE {index} ORDER BY {order} OFFSET {before} LIMIT 1;

-- name: operator_services
-- All client services that have registered an operation. It jumps along the index from one to the next, so that it reads as many rows
-- as there are client services.
WITH RECURSIVE jumps (client_service) AS (
    (SELECT client_service FROM operations ORDER BY client_service LIMIT 1)
    UNION ALL
    SELECT (SELECT o.client_service FROM operations o WHERE o.client_service > j.client_service ORDER BY o.client_service LIMIT 1)
    FROM jumps j WHERE j.client_service IS NOT NULL
)
SELECT client_service FROM jumps WHERE client_service IS NOT NULL;

-- name: operator_documents
-- Documents of an operation ($1) after an ordinal ($2), with $3 only those that failed.
SELECT d.*, coalesce(s.tries, 0) AS tries
FROM operations o
JOIN documents d ON d.operation_id = o.id AND d.month = date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date
LEFT JOIN signatures s ON s.operation_id = d.operation_id AND s.ordinal = d.ordinal AND s.day = (o.created_at AT TIME ZONE 'UTC')::date
WHERE o.id = $1 AND d.ordinal > $2::bigint AND (NOT $3 OR d.status = 3)
ORDER BY d.ordinal LIMIT $4;

-- name: operator_documents_by_reference
-- Documents with an external reference ($3) of these client services ($2), each with its key ($1), from a place on ($4, $5), the
-- newest operation first.
SELECT d.*, 0 AS tries, o.client_service, o.external_reference AS operation_reference, o.status AS operation_status, o.created_at,
       o.payload_purged
FROM unnest($1::integer[], $2::text[]) AS k (key, service)
CROSS JOIN LATERAL (
    SELECT * FROM documents d
    WHERE d.reference_key = k.key AND d.external_reference = $3 AND d.operation_id <= $4
      AND (d.operation_id < $4 OR d.ordinal < $5::bigint)
    ORDER BY d.operation_id DESC, d.ordinal DESC LIMIT $6
) d
JOIN operations o ON o.id = d.operation_id AND o.client_service = k.service
ORDER BY d.operation_id DESC, d.ordinal DESC LIMIT $6;

-- name: operator_documents_by_name
-- Documents whose name contains a text ($7), among the first $6 of operations with ids above $1 up to a place ($2, $3), in the months
-- from $4 to $5. Of them those of a client service ($8, empty: all) whose operation was registered from $9 to $10.
SELECT d.*, 0 AS tries, o.client_service, o.external_reference AS operation_reference, o.status AS operation_status, o.created_at,
       o.payload_purged
FROM (
    SELECT * FROM documents d
    WHERE (d.operation_id, d.ordinal) < ($2, $3::bigint) AND d.operation_id > $1 AND d.month BETWEEN $4 AND $5
    ORDER BY d.operation_id DESC, d.ordinal DESC LIMIT $6
) d JOIN operations o ON o.id = d.operation_id
WHERE strpos(lower(d.name), lower($7)) > 0 AND ($8 = '' OR o.client_service = $8) AND o.created_at BETWEEN $9 AND $10
ORDER BY d.operation_id DESC, d.ordinal DESC LIMIT $11;

-- name: operator_documents_edge
-- The last of the documents that such a search looks at. None if it comes to the end before.
SELECT d.operation_id, d.ordinal, o.created_at
FROM (
    SELECT d.operation_id, d.ordinal FROM documents d
    WHERE (d.operation_id, d.ordinal) < ($2, $3::bigint) AND d.operation_id > $1 AND d.month BETWEEN $4 AND $5
    ORDER BY d.operation_id DESC, d.ordinal DESC OFFSET $6 - 1 LIMIT 1
) d JOIN operations o ON o.id = d.operation_id;
