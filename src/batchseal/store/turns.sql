-- name: take_lane
-- Takes the lane of a credential ($2) for an instance ($1), or notes that it wants the lane ($5), and says whose it is now. A lane is
-- free where its holder has given it up; one whose time has run out is free for its holder, and for others by `may_take_over`. The
-- commit waits for the disk: a power cut must not give a lane to two.
INSERT INTO credential_lanes AS l (credential, holder, until) VALUES ($2, $1, now() + $3 * interval '1 second')
ON CONFLICT (credential) DO UPDATE SET
    (holder, until, fence, wanted_at) = (
        SELECT CASE WHEN free THEN $1 ELSE l.holder END,
               CASE WHEN free THEN now() + $3 * interval '1 second' ELSE l.until END,
               l.fence + (free AND (l.holder <> $1 OR l.until <= now()))::int,
               CASE WHEN free THEN NULL WHEN $5 THEN now() ELSE l.wanted_at END
        FROM (SELECT l.holder = $1 OR l.until = '-infinity' OR (l.until <= now() AND may_take_over($1, $3, $4)) AS free) f)
RETURNING l.credential, l.holder = $1 AS mine, l.fence, NULL::boolean AS wanted,
          (SELECT i.store FROM instances i WHERE i.instance = l.holder) AS store;

-- name: renew_lanes
-- Extends the lanes of an instance that it still has under these fences, and returns them. The commit does not wait for the disk.
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE credential_lanes l SET until = now() + $4 * interval '1 second'
FROM relaxed, unnest($2::text[], $3::bigint[]) mine (credential, fence)
WHERE l.credential = mine.credential AND l.fence = mine.fence AND l.holder = $1 AND l.until > '-infinity'
RETURNING l.credential;

-- name: lanes
-- Whose the lanes are, as one instance ($1) sees them: whether another one has asked for the lane in the last $2 seconds, and where
-- its holder stores payloads. A lane that was given up, or whose time has run out, is nobody's.
SELECT l.credential, l.holder = $1 AS mine, l.fence, i.store, l.wanted_at > now() - $2 * interval '1 second' AS wanted
FROM credential_lanes l LEFT JOIN instances i ON i.instance = l.holder
WHERE l.until > now();

-- name: give_up_lanes
-- Gives lanes up, so that another instance can take them at once.
UPDATE credential_lanes SET until = '-infinity', wanted_at = NULL
WHERE holder = $1 AND ($2::text[] IS NULL OR credential = ANY ($2::text[]));

-- name: take_duties
-- Takes or renews duties for an instance, and returns those that it has now. A duty is free as a lane is (see `take_lane`).
INSERT INTO duties AS d (name, holder, until)
SELECT name, $1, now() + $3 * interval '1 second' FROM unnest($2::text[]) name ORDER BY name
ON CONFLICT (name) DO UPDATE SET
    holder = $1, until = now() + $3 * interval '1 second', fence = d.fence + (d.holder <> $1)::int
WHERE d.holder = $1 OR d.until = '-infinity' OR (d.until <= now() AND may_take_over($1, $3, $4))
RETURNING d.name;

-- name: give_up_duties
-- Gives all duties of an instance up.
UPDATE duties SET until = '-infinity' WHERE holder = $1;
