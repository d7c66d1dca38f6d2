-- name: documents
-- All documents of an operation, in the order of the request.
SELECT ordinal, external_reference, name, content_type, media_type, status, sign_error, cause, content_bytes, additional_bytes,
       level
FROM documents
WHERE month = $2 AND operation_id = $1
ORDER BY ordinal;

-- name: operation_of_document
-- The newest operation of a client service that has a document with this external reference. The index finds the rows by the key.
-- The text is compared as well, since two references may have the same key.
SELECT d.operation_id
FROM documents d JOIN operations o ON o.id = d.operation_id
WHERE d.reference_key = $3 AND d.external_reference = $2 AND o.client_service = $1
ORDER BY d.operation_id DESC
LIMIT 1;

-- name: record_outcomes
-- Stores in one statement how documents ended, and the rows of `signatures`. A document ends once: if it is no longer RECEIVED,
-- it keeps its first result. The row of the operation is locked, so that its fence holds until the commit. With $9 these outcomes
-- are the last ones: the operation gets its final status, its audit trail gets an entry, and an evidence record is to be made where
-- one was asked for. The commit waits for the disk if it ends the operation or carries signatures ($15). Any other outcome can be
-- computed again after a power cut.
-- A new signature value takes away the rest of the evidence of the one before, which was about that one.
-- A row finds its outcome in the arrays by its ordinal: $17[ordinal - $18] is the outcome's place. A join of the two could be planned
-- so that every document of the operation is compared with every outcome, where PostgreSQL knows nothing of a new partition.
WITH held AS (
    SELECT id, set_config('synchronous_commit',
                          CASE WHEN $9 OR $15 THEN current_setting('synchronous_commit') ELSE 'off' END, true)
    FROM operations
    WHERE id = $1 AND fence = $8 AND status IN (1, 3) AND lease_holder IS NOT NULL
    FOR UPDATE
), kept AS (
    INSERT INTO signatures AS s (operation_id, day, ordinal, signature, evidence, tries)
    SELECT held.id, $10, e.*
    FROM held, unnest($11::integer[], $12::bytea[], $13::bytea[], $14::smallint[]) e
    ON CONFLICT (operation_id, ordinal, day) DO UPDATE
    SET signature = CASE WHEN excluded.signature = '' THEN s.signature ELSE excluded.signature END,
        -- Time stamps belong to the signature that they came with.
        evidence = CASE WHEN excluded.evidence = '' AND excluded.signature IN ('', s.signature) THEN s.evidence
                        ELSE excluded.evidence END,
        tries = excluded.tries
), ended AS (
    UPDATE documents d
    SET status = ($4::smallint[])[($17::integer[])[d.ordinal - $18::integer]],
        sign_error = ($5::smallint[])[($17::integer[])[d.ordinal - $18::integer]],
        -- Nothing leads to a place among texts but a walk over those before it, and a signed document has none.
        cause = CASE WHEN ($4::smallint[])[($17::integer[])[d.ordinal - $18::integer]] = 2 THEN ''
                     ELSE ($6::text[])[($17::integer[])[d.ordinal - $18::integer]] END,
        additional_bytes = ($7::integer[])[($17::integer[])[d.ordinal - $18::integer]],
        level = ($16::smallint[])[($17::integer[])[d.ordinal - $18::integer]]
    FROM held
    WHERE d.month = $2 AND d.operation_id = held.id AND d.ordinal = ANY ($3::integer[]) AND d.status = 1
    RETURNING d.status, d.content_bytes, d.level
), written AS (
    UPDATE operations o
    SET documents_signed = o.documents_signed + n.signed, documents_failed = o.documents_failed + n.failed,
        signed_bytes = o.signed_bytes + n.signed_bytes, time_stamps = o.time_stamps + n.time_stamps,
        status = CASE WHEN NOT $9 THEN o.status WHEN o.documents_failed + n.failed = 0 THEN 2 ELSE 4 END,
        finished_at = CASE WHEN $9 THEN date_trunc('milliseconds', clock_timestamp()) END,
        lease_holder = CASE WHEN NOT $9 THEN o.lease_holder END,
        lease_until = CASE WHEN NOT $9 THEN o.lease_until END
    FROM held, (SELECT count(*) FILTER (WHERE status = 2) AS signed, count(*) FILTER (WHERE status <> 2) AS failed,
                       coalesce(sum(content_bytes) FILTER (WHERE status = 2), 0) AS signed_bytes,
                       -- From level T on there is one, at level LTA one more.
                       count(*) FILTER (WHERE status = 2 AND level > 1) + count(*) FILTER (WHERE status = 2 AND level = 4)
                           AS time_stamps
                FROM ended) n
    WHERE o.id = held.id
    RETURNING o.*
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest,
                               signed_more, failed_more, time_stamps, signed_bytes)
    SELECT id, instance, payload_id, 2, documents_signed, documents_failed, client_service, '',
           documents_signed - signed_before, documents_failed - failed_before, time_stamps, signed_bytes
    FROM written WHERE $9
), recorded AS (
    -- Whatever was made for an earlier end of the operation was about fewer documents.
    INSERT INTO evidence_records AS r (operation_id, day, instance, asked_at)
    SELECT id, $10, instance, finished_at FROM written WHERE $9 AND evidence_record
    ON CONFLICT (operation_id, day) DO UPDATE
    SET state = 1, fence = r.fence + 1, tries = 0, asked_at = excluded.asked_at, ended_at = NULL, next_try_at = NULL,
        ordinals = '{}', digests = '', token = ''
)
SELECT documents_failed AS failed, finished_at FROM written;

-- name: end_single
-- Ends an operation whose only document was signed, where nothing was written of it since its registration: `record_outcomes` for
-- this case, which is that of callers who wait for one document. What the general statement must find out is known here: no row of
-- `signatures` is there, and the counts follow from the outcome. An operation that has an evidence record to be made, or is not as
-- described, is left as it is.
WITH written AS (
    UPDATE operations
    SET documents_signed = 1, signed_bytes = $5, status = 2, finished_at = date_trunc('milliseconds', clock_timestamp()),
        lease_holder = NULL, lease_until = NULL
    WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL AND NOT evidence_record
      AND documents_total = 1 AND documents_signed = 0 AND documents_failed = 0
    RETURNING id, instance, payload_id, client_service, finished_at
), ended AS (
    UPDATE documents d SET status = 2, additional_bytes = $6, level = $7
    FROM written WHERE d.month = $3 AND d.operation_id = written.id AND d.ordinal = $8
), kept AS (
    INSERT INTO signatures (operation_id, day, ordinal, signature, tries) SELECT id, $4, $8, $9, $10 FROM written
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest,
                               signed_more, failed_more, time_stamps, signed_bytes)
    SELECT id, instance, payload_id, 2, 1, 0, client_service, '', 1, 0, 0, $5 FROM written
)
SELECT 0 AS failed, finished_at FROM written;

-- name: evidence
-- What is known of the signatures of these documents of an operation.
SELECT ordinal, signature, evidence, tries FROM signatures
WHERE operation_id = $1 AND day = $2 AND ordinal = ANY ($3::integer[]);

-- name: keep_materials
-- Stores validation material of a day under its digest, unless it is there. The commit does not wait for the disk if it is that of
-- this statement alone ($4): the commit of the rows that refer to it comes later in the same log, and waits. In a transaction with
-- those rows it is the same commit.
WITH relaxed AS (
    SELECT set_config('synchronous_commit', CASE WHEN $4 THEN 'off' ELSE current_setting('synchronous_commit') END, true)
)
INSERT INTO validation_materials (day, digest, content)
SELECT $1, m.* FROM relaxed, unnest($2::bytea[], $3::bytea[]) m
ON CONFLICT DO NOTHING;

-- name: materials
-- Validation material of a day, by its digests.
SELECT digest, content FROM validation_materials WHERE day = $1 AND digest = ANY ($2::bytea[]);

-- name: forget_tries
-- Sets the sign calls of these documents to 0. A row that says 0 counts more than the tries which a payload of release 0.1 holds.
INSERT INTO signatures (operation_id, day, ordinal) SELECT $1, $2, unnest($3::integer[])
ON CONFLICT (operation_id, ordinal, day) DO UPDATE SET tries = 0;

-- name: make_signatures_partition
-- Makes the partition of signatures for one day, unless it exists.
SELECT make_signatures_partition($1);

-- name: reopen_documents
-- Makes failed documents of a reopened operation RECEIVED again.
UPDATE documents SET status = 1, sign_error = 0, cause = ''
WHERE month = $2 AND operation_id = $1 AND status = 3 AND ordinal = ANY ($3::integer[])
RETURNING ordinal;
