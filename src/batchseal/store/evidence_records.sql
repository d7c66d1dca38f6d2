-- name: claim_records
-- Takes the oldest records that are to be made and due of what lies in the folder of an instance, for $3 seconds, and not those
-- that this process works on ($4). Their operations have ended: one that was handed in again gets its record after its next end.
-- The commit does not wait for the disk: after a power cut the record is claimed again.
WITH free AS (
    SELECT r.operation_id, r.day FROM evidence_records r JOIN operations o ON o.id = r.operation_id
    WHERE r.instance = $1 AND o.payload_store IS NULL AND r.state = 1 AND r.operation_id <> ALL ($4::bigint[])
      AND (r.next_try_at IS NULL OR r.next_try_at <= now())
      AND o.status IN (2, 4) AND NOT o.payload_purged
    ORDER BY r.operation_id
    LIMIT $2
    FOR UPDATE OF r SKIP LOCKED
), relaxed AS (SELECT set_config('synchronous_commit', 'off', true)
), claimed AS (
    UPDATE evidence_records r SET fence = fence + 1, next_try_at = now() + $3 * interval '1 second'
    FROM free, relaxed
    WHERE r.operation_id = free.operation_id AND r.day = free.day
    RETURNING r.*
)
SELECT o.*, c.day, c.fence AS record_fence, c.tries AS record_tries, c.ordinals, c.digests,
       extract(epoch FROM now() - c.asked_at)::float8 AS age_seconds
FROM claimed c JOIN operations o ON o.id = c.operation_id
ORDER BY o.id;

-- name: claim_records_in_store
-- The same for a payload store ($5) that several instances read, whoever took the operations in, and for what this one has in its
-- own folder. The row notes who makes the record now. The commit waits for the disk: a fence must not be given out twice.
WITH free AS (
    SELECT r.operation_id, r.day FROM evidence_records r JOIN operations o ON o.id = r.operation_id
    WHERE (o.payload_store = $5 OR (o.payload_store IS NULL AND r.instance = $1))
      AND r.state = 1 AND r.operation_id <> ALL ($4::bigint[])
      AND (r.next_try_at IS NULL OR r.next_try_at <= now())
      AND o.status IN (2, 4) AND NOT o.payload_purged
    ORDER BY r.operation_id
    LIMIT $2
    FOR UPDATE OF r SKIP LOCKED
), claimed AS (
    UPDATE evidence_records r SET fence = fence + 1, next_try_at = now() + $3 * interval '1 second', instance = $1
    FROM free
    WHERE r.operation_id = free.operation_id AND r.day = free.day
    RETURNING r.*
)
SELECT o.*, c.day, c.fence AS record_fence, c.tries AS record_tries, c.ordinals, c.digests,
       extract(epoch FROM now() - c.asked_at)::float8 AS age_seconds
FROM claimed c JOIN operations o ON o.id = c.operation_id
ORDER BY o.id;

-- name: take_back_records
-- Makes every record due that an instance has still to make. For the start of its signer: the one before it is dead, and can write
-- nothing any more.
UPDATE evidence_records SET fence = fence + 1, next_try_at = NULL WHERE instance = $1 AND state = 1 RETURNING operation_id;

-- name: renew_record
-- Makes a claim last for $4 seconds from now on.
UPDATE evidence_records SET next_try_at = now() + $4 * interval '1 second'
WHERE operation_id = $1 AND day = $2 AND fence = $3 AND state = 1
RETURNING operation_id;

-- name: keep_record_digests
-- Keeps the digests of the signed documents, so that a later try needs the payload no more.
UPDATE evidence_records SET ordinals = $4, digests = $5
WHERE operation_id = $1 AND day = $2 AND fence = $3 AND state = 1
RETURNING operation_id;

-- name: end_record
-- Ends a record: it is made ($4 = 2) with its time stamp $5, or given up ($4 = 3). Its audit trail gets an entry, with the root of
-- the tree ($6). The commit waits for the disk: the time stamp was paid for, and is nowhere else.
WITH ended AS (
    UPDATE evidence_records SET state = $4, token = $5, ended_at = now(), next_try_at = NULL
    WHERE operation_id = $1 AND day = $2 AND fence = $3 AND state = 1
    RETURNING operation_id
), told AS (
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest)
    SELECT o.id, o.instance, o.payload_id, $7, o.documents_signed, o.documents_failed, o.client_service, $6
    FROM ended JOIN operations o ON o.id = ended.operation_id
)
SELECT operation_id FROM ended;

-- name: postpone_record
-- A try has failed: the record is due again in $4 seconds.
UPDATE evidence_records SET tries = tries + 1, next_try_at = now() + $4 * interval '1 second'
WHERE operation_id = $1 AND day = $2 AND fence = $3 AND state = 1
RETURNING operation_id;

-- name: evidence_record
-- The record of an operation, as far as it has come. Before a try has failed, the record is not due at any time: it is made as soon as
-- somebody comes to it, and a claim says nothing of when that will be done.
SELECT state, fence, ordinals, digests, token,
       CASE WHEN tries > 0 THEN greatest(0, extract(epoch FROM next_try_at - now()))::float8 END AS due_seconds
FROM evidence_records WHERE operation_id = $1 AND day = $2;

-- name: evidence_record_state
-- The same without what is long.
SELECT state, fence, CASE WHEN tries > 0 THEN greatest(0, extract(epoch FROM next_try_at - now()))::float8 END AS due_seconds
FROM evidence_records WHERE operation_id = $1 AND day = $2;

-- name: records_to_make
-- How many records an instance has still to make. For the metrics.
SELECT count(*) FROM evidence_records r JOIN operations o ON o.id = r.operation_id
WHERE r.instance = $1 AND r.state = 1 AND NOT o.payload_purged;
