-- name: register
-- One statement, one round trip: the reference, the operation, its documents and the first entry of its audit trail, or
-- nothing where the reference is taken, or the month ($14) not the one of {documents}, its partition. The clock is the
-- database's, for the lease as well: instances may disagree about the time. The commit of a synchronous operation (mode $24)
-- waits for no sync: nothing is said of it before its end, whose commit writes both.
WITH relaxed AS (
    SELECT set_config('synchronous_commit',
                      CASE WHEN $5 = $24::smallint THEN 'off' ELSE current_setting('synchronous_commit') END, true)
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
        payload_record
    )
    SELECT operation_id, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
           date_trunc('milliseconds', now()), $6, now() + $12 * interval '1 second', 1, $25
    FROM taken, relaxed
    RETURNING *
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
    SELECT id, instance, payload_id, 1, 0, documents_failed, client_service, $13 FROM registered
), listed AS (
    INSERT INTO {documents} (
        operation_id, month, content_bytes, ordinal, reference_key, status, content_type, sign_error,
        external_reference, name, cause
    )
    SELECT registered.id, $14, d.* FROM registered, unnest(
        $15::bigint[], $16::integer[], $17::integer[], $18::smallint[], $19::smallint[], $20::smallint[],
        $21::text[], $22::text[], $23::text[]) d
)
SELECT * FROM registered;

-- name: month
SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date;

-- name: reference_holder
-- `may_go_on`: it has failed and has its payload still, so that its caller can hand it in again.
SELECT r.operation_id, o.status IS NOT NULL AND o.status = 4 AND NOT o.payload_purged AS may_go_on
FROM external_references r LEFT JOIN operations o ON o.id = r.operation_id
WHERE r.client_service = $1 AND r.external_reference = $2;

-- name: operation
SELECT * FROM operations WHERE client_service = $1 AND id = $2;

-- name: operations_with_reference
SELECT * FROM operations WHERE client_service = $1 AND external_reference = $2 ORDER BY id DESC;

-- name: live_payloads
SELECT payload_id, payload_record, further_payloads FROM operations WHERE instance = $1 AND NOT payload_purged;

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
-- A failed operation that its caller has handed in again. $3 documents are open again. It is not due for $4 seconds, which its
-- worker needs to prepare it and to wake the signer. That its result was fetched holds for the one before only.
UPDATE operations
SET status = 1, finished_at = NULL, fetched_at = NULL, tries = 0, next_try_at = now() + $4 * interval '1 second',
    documents_failed = documents_failed - $3
WHERE id = $1 AND client_service = $2 AND status = 4 AND NOT payload_purged
RETURNING *;

-- name: add_payload
-- Names a further payload of an operation that is held with fence $2. The commit waits for no sync: the commit of the first
-- signature that depends on this payload comes later in the same log, and waits. The documents $5 have another digest from now on,
-- so a signature that is kept of them counts no more.
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
