-- The key that signs the tokens of all instances. Only the role that owns the tables can read it: the role of the service gets no
-- right to it, and there is no function that would give it away. A signer reads it at its start, as the owner, beside the migrations.
CREATE TABLE token_keys (
    number  integer     PRIMARY KEY,           -- the key with the highest number signs, and all of them verify
    key     bytea       NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);
REVOKE ALL ON token_keys FROM PUBLIC;

-- Failed logins of the last minute, at whatever instance. After a crash of the server it is empty, and counting begins anew: that is
-- why it needs no write-ahead log.
CREATE UNLOGGED TABLE login_failures (
    pair      bytea         PRIMARY KEY,       -- a keyed digest of the client id and the address that it was tried from
    failed_at timestamptz[] NOT NULL,          -- the failures of the last minute that count, the oldest first
    refused   boolean       NOT NULL DEFAULT false,  -- whether the last guess was one too many, and was not made
    until     timestamptz   NOT NULL           -- when the last one of them does not count any more
);

CREATE INDEX login_failures_over ON login_failures (until);
