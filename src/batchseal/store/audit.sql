-- name: audit_waiting
-- Pending entries of what lies in the folder of an instance, the oldest first. They come with what the digest of a finished
-- operation is computed from: its payloads, and which of its documents are signed.
SELECT a.*, o.created_at, o.payload_record, o.further_payloads,
       CASE WHEN a.event = 2 THEN ARRAY(
           SELECT d.ordinal FROM documents d
           WHERE d.month = date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date
             AND d.operation_id = o.id AND d.status = 2
           ORDER BY d.ordinal
       ) END AS signed_ordinals
FROM audit_pending a JOIN operations o ON o.id = a.operation_id
WHERE a.instance = $1 AND o.payload_store IS NULL AND a.id > $2 ORDER BY a.id LIMIT $3;

-- name: audit_waiting_in_store
-- The same for the operations of a payload store that several instances read.
SELECT a.*, o.created_at, o.payload_record, o.further_payloads,
       CASE WHEN a.event = 2 THEN ARRAY(
           SELECT d.ordinal FROM documents d
           WHERE d.month = date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date
             AND d.operation_id = o.id AND d.status = 2
           ORDER BY d.ordinal
       ) END AS signed_ordinals
FROM audit_pending a JOIN operations o ON o.id = a.operation_id
WHERE o.payload_store = $1 AND a.id > $2 ORDER BY a.id LIMIT $3;

-- name: audit_waiting_notes
-- Pending entries that are about no operation, after one of them, the oldest first.
SELECT a.*, NULL::timestamptz AS created_at, ''::bytea AS payload_record, '{}'::bytea[] AS further_payloads,
       NULL::integer[] AS signed_ordinals
FROM audit_pending a WHERE a.operation_id = 0 AND a.id > $1 ORDER BY a.id LIMIT $2;

-- name: audit_take
-- Takes entries out of the pending ones, and says which of them were still there. Whoever does this counts what was used, which the
-- database does for a release that knows of no consumption (migration 0027).
WITH counting AS (SELECT set_config('batchseal.counts_consumption', 'yes', true))
DELETE FROM audit_pending USING counting WHERE id = ANY ($1::bigint[]) RETURNING id;

-- name: audit_last
-- The last position and link of the chain, with their month. If all entries were dropped, these are those of the last anchor.
SELECT position, link, month FROM (
    SELECT position, link, month FROM audit
    UNION ALL SELECT last_position, last_link, month FROM audit_anchors
) ends
ORDER BY position DESC LIMIT 1;

-- name: audit_append
-- Appends entries to the chain.
INSERT INTO audit (position, at, operation_id, month, signed, failed, event, client_service, digest, credential, link)
SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::date[], $5::integer[], $6::integer[],
                     $7::smallint[], $8::text[], $9::bytea[], $10::bytea[], $11::bytea[]);

-- name: audit_append_actors
-- Who acted, for entries that say so.
INSERT INTO audit_actors (position, month, actor, origin, detail)
SELECT * FROM unnest($1::bigint[], $2::date[], $3::text[], $4::text[], $5::text[]);

-- name: count_consumption
-- Adds to what client services used in a month.
INSERT INTO consumption AS c (client_service, month, signatures, failures, time_stamps, content_bytes)
SELECT client_service, month, sum(signatures), sum(failures), sum(time_stamps), sum(content_bytes)
FROM unnest($1::text[], $2::date[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
     AS u (client_service, month, signatures, failures, time_stamps, content_bytes)
GROUP BY client_service, month
ON CONFLICT (month, client_service) DO UPDATE
SET signatures = c.signatures + excluded.signatures, failures = c.failures + excluded.failures,
    time_stamps = c.time_stamps + excluded.time_stamps, content_bytes = c.content_bytes + excluded.content_bytes;

-- name: audit_read
-- The next entries of the chain, after a position.
SELECT a.*, coalesce(c.actor, '') AS actor, coalesce(c.origin, '') AS origin, coalesce(c.detail, '') AS detail
FROM audit a LEFT JOIN audit_actors c USING (position)
WHERE a.position > $1 ORDER BY a.position LIMIT $2;

-- name: audit_read_month
-- The next $3 entries of a month behind a position, in the order of the chain.
SELECT a.*, coalesce(c.actor, '') AS actor, coalesce(c.origin, '') AS origin, coalesce(c.detail, '') AS detail
FROM audit a LEFT JOIN audit_actors c USING (position)
WHERE a.month = $1 AND a.position > $2 ORDER BY a.position LIMIT $3;

-- name: audit_count_month
-- How many entries of a month there are.
SELECT count(*) FROM audit WHERE month = $1;

-- name: audit_anchors
-- All anchors, the oldest month first.
SELECT * FROM audit_anchors ORDER BY month;

-- name: audit_anchor
-- Stores the anchor of a month, unless the month has one.
INSERT INTO audit_anchors (month, last_position, entries, last_link, file) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING;

-- name: audit_months
-- The months that ended $1 seconds ago and still have a partition of audit entries.
SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'audit'::regclass
  AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - $1 * interval '1 second'
ORDER BY 1;

-- name: drop_audit
-- Drops the audit entries of a month, if its anchor matches them.
SELECT drop_audit($1);

-- name: audit_time_stamps
-- The time stamps over entries behind $1, up to $2 (NULL: the last one).
SELECT position, link, at, token FROM audit_time_stamps
WHERE position > $1 AND ($2::bigint IS NULL OR position <= $2) ORDER BY position;

-- name: audit_last_time_stamp
-- The newest time stamp over the head of the chain.
SELECT position, link, at, token FROM audit_time_stamps ORDER BY position DESC LIMIT 1;

-- name: audit_time_stamp
-- Stores a time stamp over the head of the chain.
INSERT INTO audit_time_stamps (position, link, at, token) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: has_audit_time_stamps
-- Whether the database has such a table.
SELECT to_regclass('batchseal.audit_time_stamps') IS NOT NULL;

-- name: audit_verified
-- The last verification of the chain, and what it is compared with: where the chain ended when it was last intact.
SELECT position, link, entries, problem, at, intact_at, accepted FROM audit_verified;

-- name: note_audit_verified
-- Notes a verification: where the chain ended ($1, $2), how many entries were looked at ($3), the first problem ($4), and behind which
-- entry it began ($5).
SELECT note_chain_verified($1, $2, $3, $4, $5);
