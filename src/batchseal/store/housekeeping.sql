-- name: unfinished_documents
-- How many documents of an instance wait to be signed, for each client service. Those that are held after a restore do not count.
SELECT client_service, sum(documents_total - documents_signed - documents_failed)::bigint AS documents
FROM operations WHERE instance = $1 AND status IN (1, 3) AND held_at IS NULL GROUP BY client_service;

-- name: unfinished_documents_of_all
-- How many documents wait to be signed, for each client service: at all instances, and at one ($1).
SELECT client_service, sum(documents_total - documents_signed - documents_failed)::bigint AS documents,
       coalesce(sum(documents_total - documents_signed - documents_failed) FILTER (WHERE instance = $1), 0)::bigint AS own
FROM operations WHERE status IN (1, 3) AND held_at IS NULL GROUP BY client_service;

-- name: stored_bytes
-- What the payloads of an instance take that are still there, for each client service. Rows of an earlier release say nothing.
SELECT client_service, sum(stored_bytes)::bigint AS bytes
FROM operations WHERE instance = $1 AND NOT payload_purged GROUP BY client_service;

-- name: document_rows
-- How many documents have a row, for each client service: those of the operations of the months that still have a partition.
SELECT client_service, sum(documents_total)::bigint AS documents
FROM operations
WHERE created_at >= (SELECT min(to_date(right(c.relname, 7), 'YYYY_MM')) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                     WHERE i.inhparent = 'documents'::regclass)::timestamp AT TIME ZONE 'UTC'
GROUP BY client_service;

-- name: mark_fetched
-- Notes that the complete results of finished operations have reached their caller, with an entry in the audit trail for each.
-- The commit does not wait for the disk: after a power cut such a payload is kept as if nobody had fetched it.
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true)
), fetched AS (
    UPDATE operations SET fetched_at = now()
    FROM relaxed
    WHERE client_service = $1 AND id = ANY ($2::bigint[]) AND status IN (2, 4) AND fetched_at IS NULL
    RETURNING operations.*
)
INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
SELECT id, instance, payload_id, 3, documents_signed, documents_failed, client_service, '' FROM fetched;

-- name: purgeable
-- Finished operations whose payload lies in the folder of an instance and may be purged: $2 seconds after the complete result was
-- fetched, or $3 seconds after the end, by the clock of the database. An evidence record that is still to be made keeps it, and one
-- that was made keeps it for as long as a result that was fetched then. The audit entry of the end, which is computed from the
-- payload, keeps a fetched one; $3 holds whatever is in the way of the audit trail.
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE instance = $1 AND payload_store IS NULL AND NOT payload_purged AND status IN (2, 4)
  AND (fetched_at <= now() - $2 * interval '1 second' AND id NOT IN (SELECT operation_id FROM audit_pending WHERE event = 2)
       OR finished_at <= now() - $3 * interval '1 second')
  AND NOT (evidence_record AND EXISTS (
      SELECT FROM evidence_records r
      WHERE r.operation_id = id AND r.day = (created_at AT TIME ZONE 'UTC')::date
        AND (r.state = 1 OR r.ended_at > now() - $2 * interval '1 second')))
ORDER BY finished_at
LIMIT 500;

-- name: purgeable_in_store
-- The same for a payload store ($1) that several instances read.
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE payload_store = $1 AND NOT payload_purged AND status IN (2, 4)
  AND (fetched_at <= now() - $2 * interval '1 second' AND id NOT IN (SELECT operation_id FROM audit_pending WHERE event = 2)
       OR finished_at <= now() - $3 * interval '1 second')
  AND NOT (evidence_record AND EXISTS (
      SELECT FROM evidence_records r
      WHERE r.operation_id = id AND r.day = (created_at AT TIME ZONE 'UTC')::date
        AND (r.state = 1 OR r.ended_at > now() - $2 * interval '1 second')))
ORDER BY finished_at
LIMIT 500;

-- name: purge_asked
-- Finished operations whose payload lies in the folder of an instance, and that an operator wants purged. An evidence record that is
-- still to be made keeps it, and so does the audit entry of the end, which is computed from it.
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE instance = $1 AND payload_store IS NULL AND NOT payload_purged AND status IN (2, 4) AND purge_asked_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM audit_pending a WHERE a.operation_id = operations.id AND a.event = 2)
  AND NOT (evidence_record AND EXISTS (
      SELECT FROM evidence_records r
      WHERE r.operation_id = id AND r.day = (created_at AT TIME ZONE 'UTC')::date AND r.state = 1))
ORDER BY finished_at
LIMIT 500;

-- name: purge_asked_in_store
-- The same for a payload store ($1) that several instances read.
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE payload_store = $1 AND NOT payload_purged AND status IN (2, 4) AND purge_asked_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM audit_pending a WHERE a.operation_id = operations.id AND a.event = 2)
  AND NOT (evidence_record AND EXISTS (
      SELECT FROM evidence_records r
      WHERE r.operation_id = id AND r.day = (created_at AT TIME ZONE 'UTC')::date AND r.state = 1))
ORDER BY finished_at
LIMIT 500;

-- name: purgeable_for_room
-- Finished operations whose result was fetched and whose payload is still there, where this instance can delete it: in its folder, or
-- in the payload store that it shares ($3). Those of client service $2 come first. For when that one needs room. An evidence record
-- that is still to be made keeps the payload, and so does the audit entry of the end, which is computed from it.
SELECT id, payload_id, payload_record, further_payloads FROM operations
WHERE instance = $1 AND (payload_store IS NULL OR payload_store = $3) AND NOT payload_purged AND status IN (2, 4)
  AND fetched_at IS NOT NULL
  AND NOT EXISTS (SELECT FROM audit_pending a WHERE a.operation_id = operations.id AND a.event = 2)
  AND NOT (evidence_record AND EXISTS (
      SELECT FROM evidence_records r
      WHERE r.operation_id = id AND r.day = (created_at AT TIME ZONE 'UTC')::date AND r.state = 1))
ORDER BY client_service <> $2, fetched_at
LIMIT 500;

-- name: mark_purged
-- Marks operations as purged, with an entry in the audit trail for each. An unfinished operation is never marked, whatever the
-- caller asks for.
WITH purged AS (
    UPDATE operations SET payload_purged = true
    WHERE id = ANY ($1::bigint[]) AND status IN (2, 4) AND NOT payload_purged
    RETURNING *
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
    SELECT id, instance, payload_id, 4, documents_signed, documents_failed, client_service, '' FROM purged
)
SELECT id, client_service, payload_id, payload_record, further_payloads FROM purged;

-- name: free_references
-- Frees the external references of operations that ended $1 seconds ago and were purged, among the next $3 operations behind the id
-- $2. Says how many it freed and which id it came to, null where there is none: nothing in a row leads to those that are due, so all
-- operations are looked at in turn.
WITH slice AS (
    SELECT id, client_service, external_reference,
           payload_purged AND status IN (2, 4) AND finished_at <= now() - $1 * interval '1 second' AS is_due
    FROM operations WHERE id > $2 ORDER BY id LIMIT $3
), freed AS (
    DELETE FROM external_references r USING slice
    WHERE slice.is_due AND r.client_service = slice.client_service AND r.external_reference = slice.external_reference
      AND r.operation_id = slice.id
    RETURNING r.operation_id
)
SELECT (SELECT count(*) FROM freed) AS freed, max(id) AS last FROM slice;

-- name: document_months
-- The months that ended $1 seconds ago and still have a partition of documents.
SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'documents'::regclass
  AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - $1 * interval '1 second'
ORDER BY 1;

-- name: drop_documents
-- Drops the documents of a month, unless one of its operations still has its payload.
SELECT drop_documents($1);

-- name: signature_days
-- The days that have been over for an hour and still have a partition of signatures.
SELECT to_date(right(c.relname, 10), 'YYYY_MM_DD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'signatures'::regclass
  AND (to_date(right(c.relname, 10), 'YYYY_MM_DD') + 1)::timestamp AT TIME ZONE 'UTC' <= now() - interval '1 hour'
ORDER BY 1;

-- name: drop_signatures
-- Drops the signatures of a day, unless one of its operations still has its payload.
SELECT drop_signatures($1);

-- name: make_partition
-- Makes the partitions of documents and of audit entries for a month, unless they exist.
SELECT make_partition($1);

-- name: clock
-- The time of the database, and what an instance noted when it last compared it with the uptime of its machine.
SELECT clock_timestamp() AS now, h.* FROM (SELECT 1) one LEFT JOIN housekeeping h ON h.instance = $1;

-- name: note_clock
-- Replaces what an instance noted of the clock.
INSERT INTO housekeeping (instance, boot_id, uptime_seconds, seen_at, purge_not_before)
VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (instance) DO UPDATE
SET boot_id = $2, uptime_seconds = $3, seen_at = $4, purge_not_before = $5;

-- name: waiting
-- What waits at an instance ($1), for the metrics: documents, the age of the oldest operation, what is held after a restore,
-- entries of the audit trail that are not in the chain yet, when the chain was last found intact (Unix time; 0: never), whether it
-- was found broken since then, and how many entries have come into it since it was found intact.
SELECT coalesce(sum(documents_total - documents_signed - documents_failed) FILTER (WHERE held_at IS NULL), 0)::bigint AS documents,
       coalesce(extract(epoch FROM now() - min(created_at) FILTER (WHERE held_at IS NULL)), 0)::float8 AS oldest_seconds,
       count(*) FILTER (WHERE held_at IS NOT NULL) AS held,
       (SELECT count(*) FROM audit_pending WHERE instance = $1) AS unchained,
       coalesce((SELECT extract(epoch FROM intact_at) FROM audit_verified), 0)::float8 AS verified_at,
       EXISTS (SELECT FROM audit_verified WHERE problem <> '') AS is_broken,
       greatest(coalesce((SELECT position FROM audit ORDER BY position DESC LIMIT 1), 0)
                - coalesce((SELECT position FROM audit_verified), 0), 0)::bigint AS unverified
FROM operations WHERE instance = $1 AND status IN (1, 3);
