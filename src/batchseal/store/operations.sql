-- name: register
-- Registers an operation in one statement and one round trip: it stores the reference, the operation, its documents and the first
-- entry of its audit trail. It stores nothing if the reference is taken, or if the month is no longer $14, whose partition is
-- {documents}. All times, the lease included, come from the clock of the database, since instances may disagree about the time.
-- The commit of a synchronous operation (mode $25) does not wait for the disk: no reply mentions the operation before it ends,
-- and the commit of its end also writes everything before it.
WITH relaxed AS (
    SELECT set_config('synchronous_commit',
                      CASE WHEN $5 = $25::smallint THEN 'off' ELSE current_setting('synchronous_commit') END, true)
), taken AS (
    INSERT INTO external_references (client_service, external_reference, operation_id)
    SELECT $2, $3, nextval(pg_get_serial_sequence('operations', 'id'))
    WHERE date_trunc('month', now() AT TIME ZONE 'UTC')::date = $14
    ON CONFLICT DO NOTHING
    RETURNING operation_id
), registered AS (
    INSERT INTO operations (
        id, payload_id, client_service, external_reference, description, mode, instance, host, port,
        documents_total, documents_failed, return_signed_content, created_at, lease_holder, lease_until, fence,
        payload_record, stored_bytes, evidence_record, payload_store, token_holder, entry, request_id, trace_parent
    )
    SELECT operation_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
           date_trunc('milliseconds', now()), $6, now() + $12 * interval '1 second', 1, $26, $27, $28, $29, $30, $31,
           nullif($32, ''), nullif($33, '')
    FROM taken, relaxed
    RETURNING *
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
    SELECT id, instance, payload_id, 1, 0, documents_failed, client_service, $13 FROM registered
), listed AS (
    INSERT INTO {documents} (
        operation_id, month, content_bytes, ordinal, reference_key, status, content_type, sign_error,
        external_reference, name, cause, media_type
    )
    SELECT registered.id, $14, d.* FROM registered, unnest(
        $15::bigint[], $16::integer[], $17::integer[], $18::smallint[], $19::smallint[], $20::smallint[],
        $21::text[], $22::text[], $23::text[], $24::text[]) d
)
SELECT * FROM registered;

-- name: month
-- The first day of the current month, by the clock of the database.
SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date;

-- name: reference_holder
-- The operation that has an external reference. `may_go_on` says whether its caller can hand that operation in again: it has failed,
-- and still has its payload, or nothing in it was ever signed.
SELECT r.operation_id,
       o.status IS NOT NULL AND o.status = 4 AND (NOT o.payload_purged OR o.documents_signed = 0) AS may_go_on
FROM external_references r LEFT JOIN operations o ON o.id = r.operation_id
WHERE r.client_service = $1 AND r.external_reference = $2;

-- name: free_unsigned_reference
-- Frees an external reference whose operation has failed without a signature and has lost its documents: they were purged, or
-- were in the folder of an instance that was forgotten. It cannot go on, and nothing was signed that could be signed twice.
DELETE FROM external_references r USING operations o
WHERE r.client_service = $1 AND r.external_reference = $2 AND o.id = r.operation_id
  AND o.status = 4 AND o.payload_purged AND o.documents_signed = 0
RETURNING r.operation_id;

-- name: operation
-- One operation of a client service.
SELECT * FROM operations WHERE client_service = $1 AND id = $2;

-- name: operations_with_reference
-- All operations of a client service that were registered with an external reference, the newest first.
SELECT * FROM operations WHERE client_service = $1 AND external_reference = $2 ORDER BY id DESC;

-- name: live_payloads
-- The payloads that an instance must keep. Housekeeping deletes every other one.
SELECT payload_id, payload_record, further_payloads FROM operations WHERE instance = $1 AND NOT payload_purged;

-- name: live_payloads_in_store
-- The same for a payload store that several instances read.
SELECT payload_id, payload_record, further_payloads FROM operations WHERE payload_store = $1 AND NOT payload_purged;

-- name: counts_by_status
-- How many operations, and how many documents in them, have each status. For the metrics.
SELECT status, count(*) AS operations, sum(documents_total) AS documents FROM operations GROUP BY status;

-- name: unfinished
-- How many operations are unfinished, how old the oldest of them is, and the size of the database. For the metrics.
SELECT count(*) AS operations,
       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS oldest_seconds,
       pg_database_size(current_database()) AS database_bytes
FROM operations WHERE status IN (1, 3);

-- name: finished_among
-- Which of these operations are finished. For the service itself, whatever the client service.
SELECT id FROM operations WHERE id = ANY ($1::bigint[]) AND status IN (2, 4);

-- name: reopen
-- Opens a failed operation that its caller has handed in again. $3 of its documents become open again. It is due in $4 seconds,
-- so that its worker has time to wake the signer before. Whether the earlier result was fetched says nothing about the new one. An
-- evidence record is made at its end if one was asked for before or is now ($5). $6 is the instance that has its caller's own token.
-- The next end counts what is used from now on (`signed_before` and the columns after it). $7 are further payloads: documents that
-- had been lost.
UPDATE operations
SET further_payloads = further_payloads || $7::bytea[], status = 1, finished_at = NULL, fetched_at = NULL, tries = 0, next_try_at = now() + $4 * interval '1 second',
    held_at = NULL, documents_failed = documents_failed - $3, evidence_record = evidence_record OR $5, token_holder = $6, reopened_at = now(),
    signed_before = documents_signed, failed_before = documents_failed, signed_bytes = 0, time_stamps = 0
WHERE id = $1 AND client_service = $2 AND status = 4 AND NOT payload_purged AND purge_asked_at IS NULL
RETURNING *;

-- name: forget_signatures
-- Removes what is known of the signatures of these documents: they were lost, and are prepared anew.
UPDATE signatures SET signature = '', evidence = ''
WHERE operation_id = $1 AND day = $2 AND ordinal = ANY ($3::integer[]) AND signature <> '';

-- name: add_payload
-- Adds a further payload to an operation that is held with fence $2. The commit does not wait for the disk: the first signature
-- that depends on this payload is committed later, and that commit writes everything before it. The documents $5 have another
-- digest from now on, so a signature that is stored for them is no longer valid and is removed.
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true)
), named AS (
    UPDATE operations SET further_payloads = array_append(further_payloads, $3::bytea)
    FROM relaxed
    WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL
    RETURNING id
), forgotten AS (
    UPDATE signatures s SET signature = '', evidence = ''
    FROM named
    WHERE s.operation_id = named.id AND s.day = $4 AND s.ordinal = ANY ($5::integer[]) AND s.signature <> ''
)
SELECT id FROM named;
