-- name: take_samples
-- Samples of this minute, once, whoever takes them: what waits, what came and ended in the minute before, what is stored. The
-- numbers are those of `samples.Metric`.
INSERT INTO samples (at, metric, value)
SELECT minute.at, m.metric, m.value
FROM (SELECT date_trunc('minute', now()) AS at) minute
CROSS JOIN LATERAL (
    SELECT count(*) AS operations, coalesce(sum(documents_total - documents_signed - documents_failed), 0) AS documents,
           count(*) FILTER (WHERE status = 3) AS waiting,
           coalesce(extract(epoch FROM now() - min(coalesce(reopened_at, created_at))), 0) AS oldest
    FROM operations WHERE status IN (1, 3) AND held_at IS NULL) queue
CROSS JOIN LATERAL (
    SELECT coalesce(sum(documents_total), 0) AS documents FROM operations o
    WHERE o.id > operation_id_at(minute.at - interval '70 seconds')
      AND o.created_at >= minute.at - interval '1 minute' AND o.created_at < minute.at) came
CROSS JOIN LATERAL (
    SELECT coalesce(sum(signed), 0) AS signed, coalesce(sum(failed), 0) AS failed,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents > 1) AS batch_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents > 1) AS batch_p95,
           percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents = 1) AS single_p50,
           percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE documents = 1) AS single_p95
    FROM instances i CROSS JOIN LATERAL (
        SELECT o.documents_total AS documents, o.documents_signed - o.signed_before AS signed, o.documents_failed AS failed,
               extract(epoch FROM o.finished_at - coalesce(o.reopened_at, o.created_at)) AS seconds
        FROM operations o
        WHERE o.instance = i.instance AND NOT o.payload_purged
          AND o.finished_at >= minute.at - interval '1 minute' AND o.finished_at < minute.at) ended) ended
CROSS JOIN LATERAL (VALUES
    (1, queue.documents), (2, queue.oldest), (3, queue.operations), (4, queue.waiting),
    (5, came.documents), (6, ended.signed), (7, ended.failed),
    (8, ended.batch_p50), (9, ended.batch_p95), (10, ended.single_p50), (11, ended.single_p95),
    (12, pg_database_size(current_database())),
    (13, (SELECT count(*) FROM instances WHERE left_at IS NULL AND seen_at > now() - interval '12 seconds'))
) AS m (metric, value)
WHERE m.value IS NOT NULL
ON CONFLICT DO NOTHING;

-- name: add_samples
-- Adds what one instance counted since it last did to the samples of this minute.
INSERT INTO samples AS s (at, metric, value)
SELECT date_trunc('minute', now()), m.* FROM unnest($1::smallint[], $2::float8[]) m
ON CONFLICT (metric, at) DO UPDATE SET value = s.value + excluded.value;

-- name: drop_old_figures
-- Samples, sign calls and consumption go after their time.
WITH samples_gone AS (
    DELETE FROM samples WHERE at < now() - $1 * interval '1 second'
), calls_gone AS (
    DELETE FROM upstream_calls WHERE at < now() - $2 * interval '1 second'
)
DELETE FROM consumption WHERE month < now() - $3 * interval '1 second';

-- name: keep_calls
-- Sign calls that documents of operations were in. The commit does not wait for the disk.
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO upstream_calls (operation_id, at, digests, milliseconds, outcome, cause)
SELECT c.* FROM relaxed, unnest($1::bigint[], $2::timestamptz[], $3::integer[], $4::integer[], $5::text[], $6::text[]) c;
