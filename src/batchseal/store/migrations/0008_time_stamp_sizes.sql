-- How long the tokens of time stamp authorities are. A document needs room for its token before it is signed, so this is known from
-- earlier tokens, over restarts and for all instances.
CREATE TABLE time_stamp_sizes (
    authority   text PRIMARY KEY,              -- its address, without its budget
    token_bytes integer NOT NULL DEFAULT 0,    -- the longest token so far; 0: one was asked for, and none has come yet
    noted_at    timestamptz NOT NULL DEFAULT now()
);
