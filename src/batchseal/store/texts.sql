-- name: remove_old_texts
-- Removes the texts of up to 500 purged operations that ended $1 seconds ago, the oldest first. Their documents lose their names
-- and causes, where their rows are kept for so long. The records of payloads that were purged say nothing any more.
WITH old AS (
    SELECT id, date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month FROM operations
    WHERE payload_purged AND NOT texts_removed AND finished_at <= now() - $1 * interval '1 second'
    ORDER BY finished_at
    LIMIT 500
    FOR UPDATE SKIP LOCKED
), unnamed AS (
    UPDATE documents d SET name = '', cause = '' FROM old WHERE d.operation_id = old.id AND d.month = old.month
)
UPDATE operations o
SET texts_removed = true, description = '', payload_record = '', further_payloads = '{}', request_id = NULL, trace_parent = NULL
FROM old WHERE o.id = old.id
RETURNING o.id;

-- name: with_reference
-- All operations with an external reference, of one client service or of all ($2 is null). `entry_waits` says whether the audit
-- entry of the end is not in the chain yet: it is computed from the payload.
SELECT o.id, o.client_service, o.status IN (2, 4) AS finished, o.payload_purged,
       EXISTS (SELECT FROM audit_pending a WHERE a.operation_id = o.id AND a.event = 2) AS entry_waits, o.payload_store,
       o.payload_id, o.payload_record, o.further_payloads
FROM operations o
WHERE o.external_reference = $1 AND ($2::text IS NULL OR o.client_service = $2)
ORDER BY o.id;

-- name: erase_texts
-- Removes the texts of finished operations, at once and for good, the references of their documents included. A payload that is
-- still there counts as purged from now on if $2 says so, and the sweep deletes it; otherwise its operation is left as it is.
WITH chosen AS (
    SELECT id, payload_purged, date_trunc('month', created_at AT TIME ZONE 'UTC')::date AS month FROM operations
    WHERE id = ANY ($1::bigint[]) AND status IN (2, 4) AND (payload_purged OR $2)
    FOR UPDATE
), unnamed AS (
    UPDATE documents d SET name = '', cause = '', external_reference = '', reference_key = 0
    FROM chosen WHERE d.operation_id = chosen.id AND d.month = chosen.month
), erased AS (
    UPDATE operations o
    SET texts_removed = true, description = '', payload_record = '', further_payloads = '{}', payload_purged = true,
        request_id = NULL, trace_parent = NULL
    FROM chosen WHERE o.id = chosen.id
    RETURNING o.*, NOT chosen.payload_purged AS purged_now
)
INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
SELECT id, instance, payload_id, e.event, documents_signed, documents_failed, client_service, ''
FROM erased, unnest(CASE WHEN purged_now THEN ARRAY[4, 5] ELSE ARRAY[5] END) WITH ORDINALITY AS e (event, place)
ORDER BY id, e.place
RETURNING *;

-- name: can_erase_texts
-- Whether the schema has all columns that `with_reference` and `erase_texts` use.
SELECT EXISTS (SELECT FROM migrations WHERE number = 19);
