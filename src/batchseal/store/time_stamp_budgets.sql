-- name: make_time_stamp_budget
-- Makes the row of a time stamp authority, unless it is there.
INSERT INTO time_stamp_requests (authority) VALUES ($1) ON CONFLICT DO NOTHING;

-- name: take_time_stamp
-- Notes a request to an authority ($1) if fewer than $2 were sent in the last $3 seconds, with those that the caller sent $4 seconds
-- ago without noting them. $5 is a new id, by which the caller sees whether its request was noted. Whoever comes at the same time
-- waits for the row, and then counts with what the other one has noted.
UPDATE time_stamp_requests t
SET (sent_at, last_one) = (
    SELECT CASE WHEN cardinality(kept) < $2 THEN kept || now() ELSE kept END,
           CASE WHEN cardinality(kept) < $2 THEN $5 ELSE t.last_one END
    FROM (SELECT ARRAY(
        SELECT s FROM (
            SELECT unnest(t.sent_at) s
            UNION ALL SELECT now() - age * interval '1 second' FROM unnest($4::double precision[]) age
        ) sent
        WHERE s > now() - $3 * interval '1 second' ORDER BY s) AS kept) k)
WHERE authority = $1
RETURNING last_one IS NOT DISTINCT FROM $5 AS taken,
          coalesce(extract(epoch FROM sent_at[greatest(1, cardinality(sent_at) - $2 + 1)] + $3 * interval '1 second' - now()),
                   0)::float8 AS wait_seconds;
