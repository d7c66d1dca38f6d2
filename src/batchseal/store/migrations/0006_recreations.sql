-- The start that was told to delete everything (--force-database-recreate), and did so. It has one row at most. While it is there,
-- another start with that setting is refused: command lines are kept, and would delete everything at each restart.
CREATE TABLE recreations (
    start uuid        PRIMARY KEY,
    at    timestamptz NOT NULL DEFAULT now()
);
