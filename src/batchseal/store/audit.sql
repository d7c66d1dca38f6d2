-- name: audit_waiting
-- With what the digest of a finished operation is computed from: its payloads, and which of its documents are signed.
SELECT a.*, o.payload_record, o.further_payloads,
       CASE WHEN a.event = 2 THEN ARRAY(
           SELECT d.ordinal FROM documents d
           WHERE d.month = date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date
             AND d.operation_id = o.id AND d.status = 2
           ORDER BY d.ordinal
       ) END AS signed_ordinals
FROM audit_pending a JOIN operations o ON o.id = a.operation_id
WHERE a.instance = $1 AND a.id > $2 ORDER BY a.id LIMIT $3;

-- name: audit_take
DELETE FROM audit_pending WHERE id = ANY ($1::bigint[]) RETURNING id;

-- name: audit_last
SELECT position, link FROM (
    SELECT position, link FROM audit
    UNION ALL SELECT last_position, last_link FROM audit_anchors
) ends
ORDER BY position DESC LIMIT 1;

-- name: audit_append
INSERT INTO audit (position, at, operation_id, month, signed, failed, event, client_service, digest, credential, link)
SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::bigint[], $4::date[], $5::integer[], $6::integer[],
                     $7::smallint[], $8::text[], $9::bytea[], $10::bytea[], $11::bytea[]);

-- name: audit_read
SELECT * FROM audit WHERE position > $1 ORDER BY position LIMIT $2;

-- name: audit_read_month
SELECT * FROM audit WHERE month = $1 ORDER BY position;

-- name: audit_anchors
SELECT * FROM audit_anchors ORDER BY month;

-- name: audit_anchor
INSERT INTO audit_anchors (month, last_position, entries, last_link, file) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING;

-- name: audit_months
SELECT to_date(right(c.relname, 7), 'YYYY_MM') AS month
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'audit'::regclass
  AND (to_date(right(c.relname, 7), 'YYYY_MM') + interval '1 month') AT TIME ZONE 'UTC' <= now() - $1 * interval '1 second'
ORDER BY 1;

-- name: drop_audit
SELECT drop_audit($1);
