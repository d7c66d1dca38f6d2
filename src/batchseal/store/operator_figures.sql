-- name: operator_queue
-- What is unfinished, and what is not in the audit chain yet. What is held after a restore waits for an operator, and not in the queue.
SELECT count(*) FILTER (WHERE held_at IS NULL) AS queue_operations,
       coalesce(sum(documents_total - documents_signed - documents_failed) FILTER (WHERE held_at IS NULL), 0)::bigint AS queue_documents,
       count(*) FILTER (WHERE status = 3 AND held_at IS NULL) AS waiting_for_retry,
       coalesce(extract(epoch FROM now() - min(coalesce(reopened_at, created_at)) FILTER (WHERE held_at IS NULL)), 0)::float8
           AS oldest_seconds,
       count(*) FILTER (WHERE held_at IS NOT NULL) AS held_operations,
       coalesce(sum(documents_total - documents_signed - documents_failed) FILTER (WHERE held_at IS NOT NULL), 0)::bigint
           AS held_documents,
       min(held_at) AS held_since,
       pg_database_size(current_database()) AS database_bytes,
       (SELECT count(*) FROM (SELECT FROM audit_pending LIMIT 100000) p) AS unchained_entries
FROM operations WHERE status IN (1, 3);

-- name: operator_received
-- How many documents were registered in the last $1 seconds, from at most 50,000 operations.
SELECT coalesce(sum(documents_total), 0)::bigint AS documents
FROM (SELECT documents_total, created_at FROM operations
      WHERE id > operation_id_at(now() - $1 * interval '1 second' - interval '10 seconds') ORDER BY id DESC LIMIT 50000) o
WHERE created_at > now() - $1 * interval '1 second';

-- name: ended_lately
-- Of the operations that ended between two times: documents, and how long batches and single documents took. The payloads of
-- these are still there, so their index finds them.
SELECT coalesce(sum(signed), 0)::bigint AS signed, coalesce(sum(failed), 0)::bigint AS failed,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents > 1) AS batch_p50_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents > 1) AS batch_p95_seconds,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents = 1) AS single_p50_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents = 1) AS single_p95_seconds
FROM instances i CROSS JOIN LATERAL (
    SELECT o.documents_total AS documents, o.documents_signed - o.signed_before AS signed, o.documents_failed AS failed,
           extract(epoch FROM o.finished_at - coalesce(o.reopened_at, o.created_at))::float8 AS seconds
    FROM operations o
    WHERE o.instance = i.instance AND NOT o.payload_purged AND o.finished_at > $1 AND o.finished_at <= $2
    ORDER BY o.finished_at DESC LIMIT 20000
) ended;

-- name: operator_instances
-- All instances, with what they have and do.
SELECT i.instance AS id, i.address, i.version, i.store, i.started_at, i.seen_at, i.left_at,
       extract(epoch FROM now() - i.seen_at)::float8 AS seconds_ago,
       coalesce(o.unfinished, 0) AS unfinished, coalesce(o.own, 0) AS own, coalesce(l.leases, 0) AS leases,
       ARRAY(SELECT d.name FROM duties d WHERE d.holder = i.instance AND d.until > now() ORDER BY d.name) AS duties,
       ARRAY(SELECT c.credential FROM credential_lanes c WHERE c.holder = i.instance AND c.until > now() ORDER BY 1) AS lanes
FROM instances i
LEFT JOIN (SELECT instance, count(*) AS unfinished, count(*) FILTER (WHERE payload_store IS NULL) AS own
           FROM operations WHERE status IN (1, 3) GROUP BY instance) o USING (instance)
LEFT JOIN (SELECT lease_holder AS instance, count(*) AS leases
           FROM operations WHERE status IN (1, 3) AND lease_until > now() GROUP BY lease_holder) l USING (instance)
ORDER BY i.started_at, i.instance;

-- name: operator_client_services
-- Client services, with the figures of this month, what of them waits, and what of theirs is stored.
SELECT s.client_service AS id, newest.created_at AS last_seen,
       coalesce(c.signatures + c.failures, 0) AS documents, coalesce(c.signatures, 0) AS signatures, coalesce(c.failures, 0) AS failures,
       coalesce(q.documents, 0)::bigint AS queue_documents, coalesce(b.bytes, 0)::bigint AS stored_bytes
FROM unnest($1::text[]) AS s (client_service)
LEFT JOIN consumption c ON c.client_service = s.client_service AND c.month = date_trunc('month', now() AT TIME ZONE 'UTC')::date
LEFT JOIN LATERAL (
    SELECT o.created_at FROM operations o WHERE o.client_service = s.client_service ORDER BY o.id DESC LIMIT 1) newest ON true
LEFT JOIN (SELECT client_service, sum(documents_total - documents_signed - documents_failed) AS documents
           FROM operations WHERE status IN (1, 3) AND held_at IS NULL GROUP BY client_service) q ON q.client_service = s.client_service
LEFT JOIN (SELECT client_service, sum(stored_bytes) AS bytes
           FROM operations WHERE NOT payload_purged GROUP BY client_service) b ON b.client_service = s.client_service
ORDER BY s.client_service;

-- name: operator_consumption
-- What was used in the months from $1 to $2, by one client service ($3) or all (empty).
SELECT client_service, month, signatures + failures AS documents, signatures, failures, time_stamps, content_bytes
FROM consumption WHERE month BETWEEN $1 AND $2 AND ($3 = '' OR client_service = $3)
ORDER BY month, client_service;

-- name: operator_credentials
-- What signers noted of credentials.
SELECT c.credential_id, c.client_service, c.facts, c.needs_otp, c.problem, c.grant_began_at, c.grant_ends_at, c.grant_total, c.grant_left,
       c.noted_at, now() AS now, l.holder AS lane_holder
FROM credentials c LEFT JOIN credential_lanes l ON l.credential = c.credential_id AND l.until > now()
ORDER BY c.credential_id, c.client_service;

-- name: operator_time_stamps
-- Time stamp authorities.
SELECT coalesce(s.authority, r.authority) AS authority, coalesce(s.token_bytes, 0) AS token_bytes,
       coalesce(cardinality(r.sent_at), 0) AS asked,
       (SELECT min(t) FROM unnest(r.sent_at) t) AS first_asked_at, (SELECT max(t) FROM unnest(r.sent_at) t) AS last_asked_at
FROM time_stamp_sizes s FULL JOIN time_stamp_requests r USING (authority)
ORDER BY 1;

-- name: operator_stored
-- Payloads that are still there, by state.
SELECT CASE WHEN status IN (1, 3) THEN 'unfinished' WHEN purge_asked_at IS NOT NULL THEN 'purge asked'
            WHEN fetched_at IS NULL THEN 'not fetched' ELSE 'fetched' END AS state,
       count(*) AS operations, sum(stored_bytes)::bigint AS stored_bytes, min(created_at) AS oldest_at
FROM operations WHERE NOT payload_purged GROUP BY 1 ORDER BY 1;

-- name: operator_largest
-- The operations with the largest payloads that are still there.
SELECT {columns} FROM operations o WHERE NOT o.payload_purged ORDER BY o.stored_bytes DESC, o.id DESC LIMIT 20;

-- name: operator_tables
-- What each table takes with its partitions, indexes and long values.
SELECT p.relname AS name, sum(pg_total_relation_size(c.oid))::bigint AS bytes
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_class p ON p.oid = coalesce(i.inhparent, c.oid)
WHERE c.relnamespace = 'batchseal'::regnamespace AND c.relkind IN ('r', 'p') GROUP BY p.relname ORDER BY bytes DESC;

-- name: operator_samples
-- Samples of metrics ($1) between two times, in steps of $4 seconds.
SELECT metric, to_timestamp(floor(extract(epoch FROM at)::float8 / $4) * $4) AS at, avg(value) AS mean, max(value) AS largest
FROM samples WHERE metric = ANY ($1::smallint[]) AND at >= $2 AND at <= $3
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: operator_audit_pending
-- Entries that are not in the chain yet, before one of them, the newest first.
SELECT id, NULL::bigint AS position, at, event, operation_id, client_service, signed, failed, actor, origin, detail
FROM audit_pending WHERE id < $1 ORDER BY id DESC LIMIT $2;

-- name: operator_audit
-- Entries of the chain before one of them, the newest first.
SELECT 0 AS id, a.position, a.at, a.event, a.operation_id, a.client_service, a.signed, a.failed, coalesce(c.actor, '') AS actor,
       coalesce(c.origin, '') AS origin, coalesce(c.detail, '') AS detail
FROM audit a LEFT JOIN audit_actors c USING (position) WHERE a.position < $1 ORDER BY a.position DESC LIMIT $2;

-- name: operator_waiting
-- How many entries are not in the chain yet, up to 100,000.
SELECT count(*) FROM (SELECT FROM audit_pending LIMIT 100000) p;
