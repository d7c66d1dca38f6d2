-- Who may use the operator's page, and who is signed in there. Only connections that set the scope to `operators` (or see everything)
-- see these rows: one that serves a caller of the API never does.
CREATE TABLE operator_accounts (
    name          text        PRIMARY KEY CHECK (name <> '' AND length(name) <= 100),
    role          text        NOT NULL CHECK (role IN ('viewer', 'operator', 'auditor', 'admin')),
    password      text        NOT NULL,              -- argon2id, in the form of PHC strings
    totp_key      bytea,                             -- of the one-time codes (RFC 6238); NULL: none are asked for
    totp_step     bigint      NOT NULL DEFAULT 0,    -- the last time step whose code was used: each code counts once
    created_at    timestamptz NOT NULL DEFAULT now(),
    changed_at    timestamptz NOT NULL DEFAULT now(),  -- of password, key and role
    signed_in_at  timestamptz
);

-- A session is named by the SHA-256 of the token in its cookie, so that who reads the table cannot use it.
CREATE TABLE operator_sessions (
    digest     bytea       PRIMARY KEY,
    name       text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('viewer', 'operator', 'auditor', 'admin')),
    source     text        NOT NULL,                 -- account, sandbox, oidc or header
    address    text        NOT NULL,                 -- where the operator signed in from
    began_at   timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    until      timestamptz NOT NULL                  -- it ends then in any case
) WITH (fillfactor = 70);

CREATE INDEX operator_sessions_over ON operator_sessions (until);
CREATE INDEX operator_sessions_of ON operator_sessions (name);

ALTER TABLE operator_accounts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_operators ON operator_accounts USING (current_setting('batchseal.scope', true) IN ('*', 'operators'));

ALTER TABLE operator_sessions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_operators ON operator_sessions USING (current_setting('batchseal.scope', true) IN ('*', 'operators'));
