-- name: operator_operation
-- One operation.
SELECT {columns}, o.description, o.return_signed_content, o.payload_id, o.payload_store, o.token_holder, o.fence, o.host, o.port,
       CASE WHEN o.evidence_record THEN coalesce((
           SELECT r.state FROM evidence_records r WHERE r.operation_id = o.id AND r.day = (o.created_at AT TIME ZONE 'UTC')::date
       ), 1) END AS record_state
FROM operations o WHERE o.id = $1;

-- name: operator_events
-- The audit entries of an operation, those last that are not in the chain yet.
SELECT a.position, 0 AS id, a.at, a.event, a.signed, a.failed, coalesce(c.actor, '') AS actor, coalesce(c.origin, '') AS origin,
       coalesce(c.detail, '') AS detail
FROM audit a LEFT JOIN audit_actors c USING (position) WHERE a.operation_id = $1
UNION ALL
SELECT NULL, id, at, event, signed, failed, actor, origin, detail FROM audit_pending WHERE operation_id = $1
ORDER BY position NULLS LAST, id
LIMIT 500;

-- name: operator_calls
-- The sign calls that documents of an operation were in.
SELECT at, digests, milliseconds, outcome, cause FROM upstream_calls WHERE operation_id = $1 ORDER BY at DESC LIMIT 500;

-- name: operator_failures
-- Failed documents in groups. Looked at are the first $5 of operations with ids above $1 up to $2, in the months from $3 to $4; counted
-- those of a client service ($6, empty: all) whose operation was registered from $7 to $8.
WITH failed AS MATERIALIZED (
    SELECT d.operation_id, d.sign_error, d.cause FROM documents d
    WHERE d.sign_error <> 0 AND d.operation_id > $1 AND d.operation_id <= $2 AND d.month BETWEEN $3 AND $4 AND d.status = 3
    ORDER BY d.operation_id DESC LIMIT $5
), by_operation AS MATERIALIZED (
    SELECT operation_id, sign_error, cause, count(*) AS documents FROM failed GROUP BY operation_id, sign_error, cause
)
SELECT f.sign_error, f.cause, sum(f.documents)::bigint AS documents, count(*) AS operations_count, min(o.created_at) AS first_at,
       max(o.created_at) AS last_at, array_agg(DISTINCT o.client_service) AS client_services,
       (array_agg(f.operation_id ORDER BY f.operation_id DESC))[1:$9] AS operations, (SELECT count(*) FROM failed) AS looked_at
FROM by_operation f JOIN operations o ON o.id = f.operation_id
WHERE ($6 = '' OR o.client_service = $6) AND o.created_at BETWEEN $7 AND $8
GROUP BY f.sign_error, f.cause
ORDER BY documents DESC, f.sign_error, f.cause LIMIT $10;

-- name: operator_failures_edge
-- The oldest operation whose failed documents are looked at, where there are too many of them.
SELECT o.created_at FROM operations o WHERE o.id = (
    SELECT d.operation_id FROM documents d
    WHERE d.sign_error <> 0 AND d.operation_id > $1 AND d.operation_id <= $2 AND d.month BETWEEN $3 AND $4 AND d.status = 3
    ORDER BY d.operation_id DESC OFFSET $5 - 1 LIMIT 1);
