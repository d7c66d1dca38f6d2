-- name: keep_webhook_endpoints
-- Makes the table say which client services ($1) have a webhook, at which address ($2, digests), and of which ends they are told ($3,
-- $4). One that was switched off is on again where its address is another one. Events for a client service that has no webhook any
-- more are given up.
WITH gone AS (
    DELETE FROM webhook_endpoints WHERE client_service <> ALL ($1::text[])
), forgotten AS (
    UPDATE webhook_events SET state = 3, ended_at = now(), problem = 'the client service has no webhook any more'
    WHERE state = 1 AND client_service <> ALL ($1::text[])
)
INSERT INTO webhook_endpoints AS e (client_service, target, finished, failed)
SELECT * FROM unnest($1::text[], $2::bytea[], $3::boolean[], $4::boolean[])
ON CONFLICT (client_service) DO UPDATE
SET target = excluded.target, finished = excluded.finished, failed = excluded.failed,
    off_since = CASE WHEN e.target = excluded.target THEN e.off_since END
WHERE (e.target, e.finished, e.failed) IS DISTINCT FROM (excluded.target, excluded.finished, excluded.failed);

-- name: webhook_endpoints
-- Which client services have a webhook, and since when it is off, if it is.
SELECT client_service, off_since FROM webhook_endpoints ORDER BY client_service;

-- name: claim_webhook_events
-- Takes events that are due, the oldest first: of each client service ($1) at most so many ($2), and $4 in all. Nobody else takes them
-- for $3 seconds. The commit does not wait for the disk: after a power cut they are sent again.
WITH due AS (
    SELECT e.number
    FROM unnest($1::text[], $2::integer[]) AS asked (client_service, room)
    CROSS JOIN LATERAL (
        SELECT number, next_try_at FROM webhook_events
        WHERE client_service = asked.client_service AND state = 1 AND next_try_at <= now()
          AND (claimed_until IS NULL OR claimed_until <= now())
        ORDER BY next_try_at
        LIMIT asked.room
        FOR UPDATE SKIP LOCKED) e
    ORDER BY e.next_try_at
    LIMIT $4
), relaxed AS (SELECT set_config('synchronous_commit', 'off', true)
), claimed AS (
    UPDATE webhook_events e SET fence = e.fence + 1, claimed_until = now() + $3 * interval '1 second'
    FROM due, relaxed
    WHERE e.number = due.number
    RETURNING e.*
)
SELECT c.*, o.external_reference, extract(epoch FROM now() - coalesce(c.redelivered_at, c.occurred_at))::float8 AS age_seconds
FROM claimed c LEFT JOIN operations o ON o.id = c.operation_id
ORDER BY c.number;

-- name: take_webhook_events_back
-- Ends all claims. For whoever begins to send, since the one before it has stopped.
UPDATE webhook_events SET claimed_until = NULL, fence = fence + 1 WHERE state = 1 AND claimed_until IS NOT NULL;

-- name: note_webhook_tries
-- Notes how tries ended, of the events $1 that were claimed with the fences $2: their states $3, after how many seconds the next try
-- is due ($4), the HTTP statuses $5 and what went wrong ($6). A try is noted once, also if this is repeated because nobody knows
-- whether it was committed. The commit does not wait for the disk (see the claim).
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE webhook_events e
SET state = n.state, tries = e.tries + 1, fence = e.fence + 1, http_status = n.http_status, problem = n.problem,
    claimed_until = NULL, next_try_at = now() + n.pause * interval '1 second', ended_at = CASE WHEN n.state <> 1 THEN now() END
FROM relaxed, unnest($1::bigint[], $2::integer[], $3::smallint[], $4::float8[], $5::smallint[], $6::text[])
     AS n (number, fence, state, pause, http_status, problem)
WHERE e.number = n.number AND e.fence = n.fence AND e.state = 1;

-- name: give_webhook_events_back
-- Ends the claims of events ($1, with the fences $2) that were not sent, or of which nobody knows whether they were.
UPDATE webhook_events e SET claimed_until = NULL
FROM unnest($1::bigint[], $2::integer[]) AS n (number, fence)
WHERE e.number = n.number AND e.fence = n.fence AND e.state = 1;

-- name: switch_webhook_off
-- The receiver of a client service is gone for good. What was to be sent to it is given up.
WITH off AS (
    UPDATE webhook_endpoints SET off_since = now() WHERE client_service = $1 AND target = $2 AND off_since IS NULL
    RETURNING client_service
)
UPDATE webhook_events e SET state = 3, ended_at = now(), problem = 'the webhook was switched off'
FROM off WHERE e.client_service = off.client_service AND e.state = 1;

-- name: switch_webhook_on
-- The receiver of a client service has answered again.
UPDATE webhook_endpoints SET off_since = NULL WHERE client_service = $1 AND off_since IS NOT NULL RETURNING client_service;

-- name: add_webhook_event
-- An event that is not about an operation, once for each subject ($3), for a client service that has a webhook which is not off.
INSERT INTO webhook_events (client_service, kind, occurred_at, subject, details)
SELECT client_service, $2, now(), $3, $4 FROM webhook_endpoints WHERE client_service = $1 AND off_since IS NULL
ON CONFLICT DO NOTHING
RETURNING number;

-- name: webhook_counts
-- How many events wait to be sent, how old the oldest of them is, and how many webhooks are off. For the metrics.
SELECT count(*) AS waiting, coalesce(extract(epoch FROM now() - min(occurred_at)), 0)::float8 AS oldest_seconds,
       (SELECT count(*) FROM webhook_endpoints WHERE off_since IS NOT NULL) AS off
FROM webhook_events WHERE state = 1;

-- name: webhook_events
-- The newest events, at most $4: of one client service ($1), in one state ($2), of one operation ($3); NULL stands for any.
SELECT e.*, o.external_reference, extract(epoch FROM now() - coalesce(e.redelivered_at, e.occurred_at))::float8 AS age_seconds
FROM webhook_events e LEFT JOIN operations o ON o.id = e.operation_id
WHERE ($1::text IS NULL OR e.client_service = $1) AND ($2::smallint IS NULL OR e.state = $2)
  AND ($3::bigint IS NULL OR e.operation_id = $3)
ORDER BY e.number DESC
LIMIT $4;

-- name: redeliver_webhook_events
-- Makes events due once more, with all their tries and as if they were new: those with the ids $1, or those of an operation ($2), or
-- all that were given up ($3), of one client service ($4; NULL: of any). One that is to be sent anyway is sent at once. A webhook that
-- is off gets none.
UPDATE webhook_events e
SET state = 1, tries = 0, fence = e.fence + 1, next_try_at = now(), claimed_until = NULL, ended_at = NULL, redelivered_at = now()
WHERE (e.id = ANY ($1::uuid[]) OR e.operation_id = $2 OR ($3 AND e.state = 3))
  AND ($4::text IS NULL OR e.client_service = $4)
  AND EXISTS (SELECT FROM webhook_endpoints p WHERE p.client_service = e.client_service AND p.off_since IS NULL)
RETURNING e.number;

-- name: give_up_old_webhook_events
-- Gives up to 5,000 events up that have been due for $1 seconds and were not sent. An event that failed is due later each time, and
-- one that is redelivered is due anew.
UPDATE webhook_events SET state = 3, ended_at = now(), fence = fence + 1, claimed_until = NULL,
    problem = 'its receiver did not take events for too long'
WHERE number IN (
    SELECT number FROM webhook_events
    WHERE state = 1 AND next_try_at <= now() - $1 * interval '1 second' AND (claimed_until IS NULL OR claimed_until <= now())
    LIMIT 5000
    FOR UPDATE SKIP LOCKED);

-- name: drop_webhook_events
-- Removes up to 5,000 events that ended $1 seconds ago. One that is not about an operation stays for $2 seconds at least: while
-- it is there, its subject is not told again (see `add_webhook_event`).
DELETE FROM webhook_events WHERE number IN (
    SELECT number FROM webhook_events
    WHERE occurred_at <= now() - $1 * interval '1 second' AND state <> 1 AND ended_at <= now() - $1 * interval '1 second'
      AND (operation_id IS NOT NULL OR occurred_at <= now() - $2 * interval '1 second')
    ORDER BY number
    LIMIT 5000);
