-- How an operation came in, where that was not over HTTP. Its `mode` stays one that releases before this one know: nobody waits for
-- the result of such an operation in the same request.
ALTER TABLE operations ADD COLUMN entry smallint NOT NULL DEFAULT 0;  -- 0: over HTTP, 1: from a hot folder
