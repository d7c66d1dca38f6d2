-- name: arrive
-- Notes that an instance has started. Its contact with the database begins now, and so does the time that it must wait before it
-- takes what another one holds.
INSERT INTO instances (instance, address, version, store)
VALUES ($1, $2, $3, $4)
ON CONFLICT (instance) DO UPDATE
SET address = $2, version = $3, store = $4, started_at = now(), seen_at = now(), in_contact_since = now(), left_at = NULL;

-- name: heartbeat
-- Notes that an instance is there, and says how many are. A gap of more than $2 seconds since the last note begins the contact
-- anew: whatever the reason of it (the database or the network was away, the instance was stopped, the clock jumped), leases may
-- have run out meanwhile whose holders could not renew them. The commit does not wait for the disk.
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true)
), noted AS (
    UPDATE instances
    SET in_contact_since = CASE WHEN seen_at + $2 * interval '1 second' < now() OR seen_at > now() THEN now()
                                ELSE in_contact_since END,
        seen_at = now()
    FROM relaxed
    WHERE instance = $1 AND left_at IS NULL
    RETURNING instance
)
SELECT EXISTS (SELECT FROM noted) AS noted, count(*) AS others
FROM instances WHERE instance <> $1 AND left_at IS NULL AND seen_at > now() - $3 * interval '1 second';

-- name: left_behind
-- Operations that have their payload in a store which neither this instance ($1), whose store is $2 (NULL: its own folder), nor
-- another one reads that was seen within $3 seconds: nobody signs, delivers or purges them. By store; how many are unfinished.
SELECT o.payload_store AS store, count(*) AS operations, count(*) FILTER (WHERE o.status IN (1, 3)) AS unfinished
FROM operations o
WHERE NOT o.payload_purged AND o.payload_store IS NOT NULL AND o.payload_store IS DISTINCT FROM $2
  AND NOT EXISTS (SELECT FROM instances i
                  WHERE i.instance <> $1 AND i.left_at IS NULL AND i.seen_at > now() - $3 * interval '1 second'
                    AND i.store = o.payload_store)
GROUP BY o.payload_store ORDER BY o.payload_store;

-- name: depart
-- Notes that an instance has stopped in good order. It holds nothing any more.
UPDATE instances SET left_at = now() WHERE instance = $1;

-- name: instances
-- All instances, with how long ago each was seen, the number of its unfinished operations, and how many of those only it can sign.
SELECT i.*, extract(epoch FROM now() - i.seen_at)::float8 AS seconds_ago, coalesce(o.unfinished, 0) AS unfinished,
       coalesce(o.own, 0) AS own
FROM instances i LEFT JOIN (
    SELECT instance, count(*) AS unfinished, count(*) FILTER (WHERE payload_store IS NULL) AS own
    FROM operations WHERE status IN (1, 3) GROUP BY instance) o USING (instance)
ORDER BY i.started_at, i.instance;
