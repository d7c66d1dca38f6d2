-- name: mark_references_taken
-- Takes external references ($2) of client services ($1) that were sealed elsewhere, at the times $3 if these are known. For
-- each there is an operation without documents that is executed and purged: so its caller hears that the result is not kept
-- any more, and the reference is free again when it would be for one that was sealed here. It ended when it was sealed, and
-- was registered now: operations are found by their time as ids grow with `created_at` (`operation_id_at`). $4 stands for the
-- instance, $5 and $6 for the address.
WITH wanted AS (
    SELECT DISTINCT ON (client_service, reference) client_service, reference, coalesce(sealed_at, now()) AS sealed_at
    FROM unnest($1::text[], $2::text[], $3::timestamptz[]) AS w (client_service, reference, sealed_at)
    ORDER BY client_service, reference, sealed_at
), taken AS (
    INSERT INTO external_references AS r (client_service, external_reference, operation_id)
    SELECT client_service, reference, nextval(pg_get_serial_sequence('operations', 'id')) FROM wanted
    ON CONFLICT DO NOTHING
    RETURNING r.*
), noted AS (
    INSERT INTO operations (
        id, payload_id, client_service, external_reference, description, mode, instance, host, port, documents_total, status,
        created_at, finished_at, payload_purged)
    SELECT t.operation_id, gen_random_uuid(), t.client_service, t.external_reference, $8, $7, $4, $5, $6, 0, 2,
           date_trunc('milliseconds', now()), date_trunc('milliseconds', w.sealed_at), true
    FROM taken t JOIN wanted w ON w.client_service = t.client_service AND w.reference = t.external_reference
)
SELECT count(*) FROM taken;

-- name: count_references_taken
-- How many of these external references ($2, of client services $1) are taken.
SELECT count(*) FROM external_references r
JOIN (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS w (client_service, reference)) w
  ON w.client_service = r.client_service AND w.reference = r.external_reference;
