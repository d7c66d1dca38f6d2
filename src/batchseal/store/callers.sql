-- name: make_token_key
-- Keeps a first key, unless there is one.
INSERT INTO token_keys (number, key) VALUES (1, $1) ON CONFLICT DO NOTHING;

-- name: token_keys
-- The key that signs comes first.
SELECT key FROM token_keys ORDER BY number DESC;

-- name: count_login_failure
-- Counts a failure of the pair $1, unless it has $2 failures within $3 seconds already. Of simultaneous guesses each waits for the
-- row that the one before it has locked. Two rows that do not count any more are removed by the way, so that made-up ids do not
-- pile up; a row that somebody uses is left alone.
WITH over AS (
    SELECT pair FROM login_failures WHERE until < now() AND pair <> $1 ORDER BY until LIMIT 2 FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM login_failures USING over WHERE login_failures.pair = over.pair
)
INSERT INTO login_failures AS f (pair, failed_at, until)
VALUES ($1, ARRAY[now()], now() + $3 * interval '1 second')
ON CONFLICT (pair) DO UPDATE SET (failed_at, refused, until) = (
    SELECT CASE WHEN full_up THEN recent ELSE array_append(recent, now()) END, full_up,
           CASE WHEN full_up THEN f.until ELSE excluded.until END
    FROM (SELECT ARRAY(SELECT t FROM unnest(f.failed_at) t WHERE t > now() - $3 * interval '1 second' ORDER BY t)) a (recent),
         LATERAL (SELECT cardinality(recent) >= $2) b (full_up)
)
RETURNING refused, now() AS at,
    extract(epoch FROM failed_at[1] + $3 * interval '1 second' - now())::float8 AS seconds_until_fewer;

-- name: take_back_login_failure
-- The guess of the pair $1 that was counted at the time $2 was right, or nobody could say.
UPDATE login_failures SET failed_at = array_remove(failed_at, $2) WHERE pair = $1;

-- name: others_alive
-- How many other instances are there: seen within $2 seconds, and not stopped.
SELECT count(*) FROM instances
WHERE instance <> $1 AND left_at IS NULL AND seen_at > now() - $2 * interval '1 second';

-- name: instance_address
-- Where an instance listens, and how long ago it was seen.
SELECT address, extract(epoch FROM now() - seen_at)::float8 AS seconds_ago FROM instances WHERE instance = $1;

-- name: versions_present
-- The versions of the instances that may still read what is written now: those that have not stopped in good order, and were seen
-- within $1 seconds.
SELECT DISTINCT version FROM instances WHERE left_at IS NULL AND seen_at > now() - $1 * interval '1 second';
