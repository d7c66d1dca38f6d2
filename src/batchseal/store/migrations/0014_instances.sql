-- What several instances on one database need to share its work: who is there, whose turn it is, and which of them can read a
-- payload. All times are those of the database's clock, and nothing here is state of a session, which a pooler would lose.

ALTER TABLE operations
    ADD COLUMN payload_store text,  -- where its payload lies; NULL: in the folder of its `instance`, which alone can read it
    ADD COLUMN token_holder  uuid;  -- the instance that has the token of a caller who signs with one of its own, if it is such an
                                    -- operation; that token is never stored

-- This index holds only unfinished operations whose payload several instances can read. Where there are none, it costs nothing.
CREATE INDEX operations_unfinished_in_store ON operations (payload_store, id)
    WHERE status IN (1, 3) AND payload_store IS NOT NULL;

-- The same for payloads that may be purged.
CREATE INDEX operations_with_payload_in_store ON operations (payload_store, finished_at)
    WHERE NOT payload_purged AND payload_store IS NOT NULL;

-- One row for each instance that was ever here. It writes its row every few seconds.
CREATE TABLE instances (
    instance         uuid        PRIMARY KEY,
    address          text        NOT NULL,               -- host:port at which it listens
    version          text        NOT NULL,
    store            text        NOT NULL,               -- where it stores payloads, as in operations.payload_store
    started_at       timestamptz NOT NULL DEFAULT now(),
    seen_at          timestamptz NOT NULL DEFAULT now(),
    in_contact_since timestamptz NOT NULL DEFAULT now(), -- it has written its row without a gap since then
    left_at          timestamptz                         -- when it stopped in good order and gave everything back
) WITH (fillfactor = 50);

-- Through which instance the upstream calls of a credential go, until when. Taking it over raises the fence.
CREATE TABLE credential_lanes (
    credential text        PRIMARY KEY,
    holder     uuid        NOT NULL,
    until      timestamptz NOT NULL,
    fence      bigint      NOT NULL DEFAULT 1,
    wanted_at  timestamptz                               -- when another instance last asked for it
) WITH (fillfactor = 50);

-- Which instance does a duty that one does for all, until when.
CREATE TABLE duties (
    name   text        PRIMARY KEY,
    holder uuid        NOT NULL,
    until  timestamptz NOT NULL,
    fence  bigint      NOT NULL DEFAULT 1
) WITH (fillfactor = 50);

-- When each time stamp authority with a budget was asked, within the time of its budget, by all instances together.
CREATE TABLE time_stamp_requests (
    authority text          PRIMARY KEY,                 -- its address, without its budget
    sent_at   timestamptz[] NOT NULL DEFAULT '{}',
    last_one  uuid                                       -- of whoever noted a request last, so that it knows that it did
) WITH (fillfactor = 50);

-- Whether an instance may take what another one holds, once the lease of that has run out: it has written its row without a gap of
-- `gap_seconds` for a whole lease. Store/instances.py says why.
CREATE FUNCTION may_take_over(me uuid, lease_seconds double precision, gap_seconds double precision) RETURNS boolean
LANGUAGE sql STABLE SET search_path = batchseal, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM instances
        WHERE instance = me AND left_at IS NULL AND seen_at > now() - gap_seconds * interval '1 second'
          AND in_contact_since <= now() - lease_seconds * interval '1 second')
$$;

-- Whether an instance was seen within the time of a lease, and has not stopped.
CREATE FUNCTION is_alive(one uuid, lease_seconds double precision) RETURNS boolean
LANGUAGE sql STABLE SET search_path = batchseal, pg_temp AS $$
    SELECT EXISTS (
        SELECT FROM instances
        WHERE instance = one AND left_at IS NULL AND seen_at > now() - lease_seconds * interval '1 second')
$$;

-- A connection that serves a caller may see which instances there are, and nothing else of this.
ALTER TABLE instances ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY seen_by_all ON instances FOR SELECT USING (true);
CREATE POLICY for_the_service ON instances USING (current_setting('batchseal.scope', true) = '*');

ALTER TABLE credential_lanes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON credential_lanes USING (current_setting('batchseal.scope', true) = '*');

ALTER TABLE duties ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON duties USING (current_setting('batchseal.scope', true) = '*');

ALTER TABLE time_stamp_requests ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON time_stamp_requests USING (current_setting('batchseal.scope', true) = '*');
