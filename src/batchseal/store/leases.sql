-- name: claim
-- A lease, and how a document ended, need not be on the disk before the next step: what a power cut takes of them is found
-- again in the spill, which is synced first. So these commits wait for no sync (`relaxed`); the next one that does, which ends
-- or registers an operation, writes them too.
-- Skips what is locked: claims that run side by side never wait for each other and never take the same row.
-- What register has leased (fence 1) is left for $4 seconds to the worker that is about to hand it to the signer. What that
-- one has at work ($6) is not claimed again, though its lease may have run out while the database was away.
WITH free AS (
    SELECT id FROM operations
    WHERE instance = $1 AND status IN (1, 3) AND id <> ALL ($6::bigint[])
      AND (lease_until IS NULL OR lease_until <= now()
           OR (lease_holder = $1 AND fence = 1
               AND (created_at <= now() - $4 * interval '1 second' OR id = ANY ($5::bigint[]))))
      AND (next_try_at IS NULL OR next_try_at <= now())
    ORDER BY id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
), relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE operations
SET lease_holder = $1, lease_until = now() + $3 * interval '1 second', fence = fence + 1, next_try_at = NULL
FROM free, relaxed
WHERE operations.id = free.id
RETURNING operations.*;

-- name: claim_one
-- The lease that register gave (fence 1) counts as free for its own instance: nobody works under it.
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE operations
SET lease_holder = $1, lease_until = now() + $3 * interval '1 second', fence = fence + 1, next_try_at = NULL
FROM relaxed
WHERE id = $2 AND instance = $1 AND status IN (1, 3)
  AND (lease_until IS NULL OR lease_until <= now() OR (lease_holder = $1 AND fence = 1))
RETURNING operations.*;

-- name: take_back_own_leases
-- The fence goes up, so that what is left of the process before this one can write no more.
UPDATE operations
SET lease_holder = NULL, lease_until = NULL, fence = fence + 1
WHERE lease_holder = $1 AND instance = $1 AND status IN (1, 3)
RETURNING id;

-- name: renew
UPDATE operations SET lease_until = now() + $3 * interval '1 second'
WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL
RETURNING id;

-- name: postpone
UPDATE operations
SET status = 3, tries = tries + 1, next_try_at = now() + $3 * interval '1 second',
    lease_holder = NULL, lease_until = NULL
WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL
RETURNING id;
