-- name: operator_accounts
-- All accounts of the operator's page.
SELECT name, role, password, totp_key, totp_step, created_at, changed_at, signed_in_at FROM operator_accounts ORDER BY name;

-- name: operator_account
-- One account.
SELECT name, role, password, totp_key, totp_step, created_at, changed_at, signed_in_at
FROM operator_accounts WHERE name = $1;

-- name: has_operator_accounts
-- Whether there is any account.
SELECT EXISTS (SELECT FROM operator_accounts);

-- name: has_operator_tables
-- Whether the database has the tables of the operator's page. That of an earlier release has none.
SELECT to_regclass('operator_accounts') IS NOT NULL;

-- name: operator_database_id
-- The id of the database: all instances on it have the same sessions, and others on the same host have other cookies.
SELECT id FROM database_identity;

-- name: add_operator_account
-- Adds an account, unless there is one of this name.
INSERT INTO operator_accounts (name, role, password, totp_key) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING name;

-- name: remove_operator_account
-- Removes an account, and ends its sessions.
WITH ended AS (DELETE FROM operator_sessions WHERE name = $1 AND source = 'account')
DELETE FROM operator_accounts WHERE name = $1 RETURNING name;

-- name: change_operator_account
-- Changes what is given of an account, and ends its sessions. With $4 the key of one-time codes is replaced, by NULL too.
WITH ended AS (DELETE FROM operator_sessions WHERE name = $1 AND source = 'account')
UPDATE operator_accounts
SET role = coalesce($2, role), password = coalesce($3, password), changed_at = now(),
    totp_key = CASE WHEN $4 THEN $5 ELSE totp_key END, totp_step = CASE WHEN $4 THEN 0 ELSE totp_step END
WHERE name = $1 RETURNING name;

-- name: use_totp_step
-- Notes that the one-time code of a time step was used. Nothing is returned if that code, or a later one, was used before.
UPDATE operator_accounts SET totp_step = $2 WHERE name = $1 AND totp_step < $2 RETURNING name;

-- name: begin_operator_session
-- Begins a session of $6 hours. Sessions that are over are removed by the way.
WITH over AS (
    DELETE FROM operator_sessions WHERE until < now()
), noted AS (
    UPDATE operator_accounts SET signed_in_at = now() WHERE name = $2 AND $4 = 'account'
)
INSERT INTO operator_sessions (digest, name, role, source, address, until, identity)
VALUES ($1, $2, $3, $4, $5, now() + $6::integer * interval '1 hour', $7);

-- name: operator_session
-- A session that was used within $2 minutes. Its role is that of its account as it is now; that of a trial ends with the first account.
-- The time of its use is noted once a minute, or more often where few minutes end a session.
WITH found AS (
    SELECT s.digest, s.name, coalesce(a.role, s.role) AS role, s.source, s.address, s.began_at, s.seen_at, s.identity
    FROM operator_sessions s LEFT JOIN operator_accounts a ON a.name = s.name AND s.source = 'account'
    WHERE s.digest = $1 AND s.until > now() AND s.seen_at > now() - $2::integer * interval '1 minute'
      AND (s.source <> 'account' OR a.name IS NOT NULL)
      AND (s.source <> 'sandbox' OR NOT EXISTS (SELECT FROM operator_accounts))
), noted AS (
    UPDATE operator_sessions s SET seen_at = now() FROM found
    WHERE s.digest = found.digest AND $3 AND found.seen_at < now() - least(interval '1 minute', $2::integer * interval '2 seconds')
)
SELECT name, role, source, address, began_at, identity FROM found;

-- name: end_operator_session
-- Ends a session.
DELETE FROM operator_sessions WHERE digest = $1;
