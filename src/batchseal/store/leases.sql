-- name: claim
-- Leases the oldest operations that are due and that nobody works on. Rows that another transaction has locked are skipped:
-- claims that run at the same time never wait for each other and never take the same row. An operation whose lease `register`
-- gave (fence 1) is left for $4 seconds to the worker that is about to hand it to the signer, unless it is among the woken ones
-- ($5). Those that this signer works on ($6) are not claimed again, although their lease may have ended while the database was
-- away. The commit does not wait for the disk (`relaxed`). If a power cut takes the lease, the operation is claimed again: only
-- its own instance does that, and never for an operation that it still works on ($6). This is the claim of an instance whose
-- payloads lie in its own folder. Nothing is claimed of the client services $7, which have enough at work while others wait.
WITH free AS (
    SELECT id FROM operations
    WHERE instance = $1 AND payload_store IS NULL AND status IN (1, 3) AND held_at IS NULL
      AND id <> ALL ($6::bigint[]) AND client_service <> ALL ($7::text[])
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
-- Leases one operation, even before it is due. The lease that `register` gave (fence 1) counts as free for its own instance,
-- since nobody works under it. The commit does not wait for the disk (see `claim`).
WITH relaxed AS (SELECT set_config('synchronous_commit', 'off', true))
UPDATE operations
SET lease_holder = $1, lease_until = now() + $3 * interval '1 second', fence = fence + 1, next_try_at = NULL
FROM relaxed
WHERE id = $2 AND instance = $1 AND payload_store IS NULL AND status IN (1, 3) AND held_at IS NULL
  AND (lease_until IS NULL OR lease_until <= now() OR (lease_holder = $1 AND fence = 1))
RETURNING operations.*;

-- name: claim_shared
-- The same where the payload store ($8) is one that several instances read: what any of them took in there can be claimed, and
-- beside that what this instance has in its own folder. An operation without a lease is free for all. One whose lease has run out
-- is free for its holder, and for others once they have been in contact with the database for a whole lease ($9: without a gap of
-- so many seconds): time in which the database was away does not count. An operation whose caller signs with a token of its own is
-- left to the instance that has the token, as long as that is there. The calls of the client services $10 go through another
-- instance: nothing is claimed of them but what that one cannot sign, since it has a token of its own, or lies in the folder of this
-- one. The commit waits for the disk, as that of `claim` need not: a power cut that took it would let another instance claim the
-- operation under the same fence, and both could write.
WITH free AS (
    SELECT id FROM operations
    WHERE (payload_store = $8 OR (payload_store IS NULL AND instance = $1))
      AND status IN (1, 3) AND held_at IS NULL AND id <> ALL ($6::bigint[]) AND client_service <> ALL ($7::text[])
      AND (client_service <> ALL ($10::text[]) OR payload_store IS NULL OR token_holder IS NOT NULL)
      AND (lease_until IS NULL
           OR (lease_until <= now() AND (lease_holder = $1 OR (SELECT may_take_over($1, $3, $9))))
           OR (lease_holder = $1 AND fence = 1
               AND (created_at <= now() - $4 * interval '1 second' OR id = ANY ($5::bigint[]))))
      AND (token_holder IS NULL OR token_holder = $1
           OR ((SELECT may_take_over($1, $3, $9)) AND NOT is_alive(token_holder, $3)))
      AND (next_try_at IS NULL OR next_try_at <= now())
    ORDER BY id
    LIMIT $2
    FOR UPDATE SKIP LOCKED
)
UPDATE operations
SET lease_holder = $1, lease_until = now() + $3 * interval '1 second', fence = fence + 1, next_try_at = NULL
FROM free
WHERE operations.id = free.id
RETURNING operations.*;

-- name: claim_one_shared
-- Leases one operation, even before it is due, by the rules of `claim_shared`.
UPDATE operations
SET lease_holder = $1, lease_until = now() + $3 * interval '1 second', fence = fence + 1, next_try_at = NULL
WHERE id = $2 AND (payload_store = $4 OR (payload_store IS NULL AND instance = $1)) AND status IN (1, 3)
  AND held_at IS NULL
  AND (lease_until IS NULL
       OR (lease_until <= now() AND (lease_holder = $1 OR (SELECT may_take_over($1, $3, $5))))
       OR (lease_holder = $1 AND fence = 1))
  AND (token_holder IS NULL OR token_holder = $1
       OR ((SELECT may_take_over($1, $3, $5)) AND NOT is_alive(token_holder, $3)))
RETURNING operations.*;

-- name: take_back_own_leases
-- Frees every lease of an instance whose signer has just been started, or has stopped. The fence grows, so that a process which is
-- left of the signer before it can write nothing any more.
UPDATE operations
SET lease_holder = NULL, lease_until = NULL, fence = fence + 1
WHERE lease_holder = $1 AND status IN (1, 3)
RETURNING id;

-- name: end_under
-- How an operation ended that was last held with fence $2. No row if it has not ended, or if somebody else held it after that.
SELECT documents_failed AS failed, finished_at FROM operations WHERE id = $1 AND fence = $2 AND status IN (2, 4);

-- name: give_back
-- Ends the lease of an operation that is held with fence $2. Nobody writes under this fence any more. Who may claim it now hears so
-- (notices.py).
WITH given AS (
    UPDATE operations SET lease_holder = NULL, lease_until = NULL
    WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL
    RETURNING id
)
SELECT id, pg_notify('batchseal_left', '') FROM given;

-- name: renew
-- Extends the lease of an operation that is held with fence $2.
UPDATE operations SET lease_until = now() + $3 * interval '1 second'
WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL
RETURNING id;

-- name: postpone
-- Ends a try that failed for the whole operation: it is due again in $3 seconds.
UPDATE operations
SET status = 3, tries = tries + 1, next_try_at = now() + $3 * interval '1 second',
    lease_holder = NULL, lease_until = NULL
WHERE id = $1 AND fence = $2 AND status IN (1, 3) AND lease_holder IS NOT NULL
RETURNING id;
