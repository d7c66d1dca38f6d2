-- name: recreation
-- The start that has deleted everything, unless a start without the setting came after it.
SELECT start, at FROM recreations;

-- name: note_recreation
-- Notes the start that has deleted everything.
INSERT INTO recreations (start) VALUES ($1);

-- name: forget_recreation
-- Allows the setting again: $1 is a start without it.
DELETE FROM recreations WHERE start <> $1;

-- name: others_noted
-- Whether another instance than $1 noted itself in the last $2 seconds, as each does in every round of its duties. A note that
-- lies in the future counts too: the clock was set back.
SELECT EXISTS (SELECT FROM housekeeping WHERE instance <> $1 AND seen_at > now() - $2 * interval '1 second');

-- name: others_connected
-- Whether anything of this product but the instance that names itself $1 is connected to this database now.
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND application_name LIKE 'batchseal%' AND application_name <> $1);
