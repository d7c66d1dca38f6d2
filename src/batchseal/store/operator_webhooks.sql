-- name: operator_webhooks
-- Client services that have a webhook, or events that were not delivered, with how many of these wait and were given up. Of the newest
-- $1 of them.
SELECT coalesce(p.client_service, e.client_service) AS client_service, p.client_service IS NOT NULL AS is_configured, p.off_since,
       coalesce(e.waiting, 0) AS waiting, coalesce(e.given_up, 0) AS given_up, e.oldest_at
FROM (SELECT client_service, off_since FROM webhook_endpoints) p
FULL JOIN (
    SELECT client_service, count(*) FILTER (WHERE state = 1) AS waiting, count(*) FILTER (WHERE state = 3) AS given_up,
           min(occurred_at) FILTER (WHERE state = 1) AS oldest_at
    FROM (SELECT client_service, state, occurred_at FROM webhook_events WHERE state <> 2 ORDER BY number DESC LIMIT $1) newest
    GROUP BY client_service
) e USING (client_service)
ORDER BY 1;

-- name: operator_events_to_send
-- Events that wait or were given up, before one of them ($1), the newest first: of the first $2 those of a client service ($3; empty:
-- any) in a state ($4; NULL: any), at most $5.
SELECT e.*, o.external_reference
FROM (SELECT number, id, client_service, kind, state, occurred_at, next_try_at, ended_at, tries, http_status, problem, operation_id,
             details
      FROM webhook_events WHERE state <> 2 AND number < $1 ORDER BY number DESC LIMIT $2) e
LEFT JOIN operations o ON o.id = e.operation_id
WHERE ($3 = '' OR e.client_service = $3) AND ($4::smallint IS NULL OR e.state = $4)
ORDER BY e.number DESC LIMIT $5;

-- name: operator_events_edge
-- The last event that such a page looks at: the one behind $2 others. None if it comes to the end before.
SELECT number, occurred_at FROM webhook_events WHERE state <> 2 AND number < $1 ORDER BY number DESC OFFSET $2 LIMIT 1;
