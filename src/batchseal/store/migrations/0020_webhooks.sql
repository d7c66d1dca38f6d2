-- Webhooks: what client services are told of without asking. Which of them have a webhook is configuration; the signer keeps it here,
-- so that whoever ends an operation, in whatever way, leaves an event in the same transaction and needs to know nothing of webhooks.

-- A client service without a row is told of nothing, and its operations leave no event.
CREATE TABLE webhook_endpoints (
    client_service text        PRIMARY KEY,
    target         bytea       NOT NULL,                 -- SHA-256 of its address, which may hold a secret
    finished       boolean     NOT NULL DEFAULT true,    -- whether it is told of operations that were signed as a whole
    failed         boolean     NOT NULL DEFAULT true,    -- whether it is told of operations with a document that was given up
    off_since      timestamptz                           -- the receiver has said that it is gone for good (410)
);

CREATE TABLE webhook_events (
    number             bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id                 uuid        NOT NULL DEFAULT gen_random_uuid() UNIQUE,  -- receivers know an event by this
    operation_id       bigint,                           -- NULL: the event is not about an operation
    occurred_at        timestamptz NOT NULL,
    next_try_at        timestamptz NOT NULL DEFAULT now(),
    claimed_until      timestamptz,                      -- somebody is sending it
    ended_at           timestamptz,
    documents_total    integer     NOT NULL DEFAULT 0,
    documents_signed   integer     NOT NULL DEFAULT 0,
    documents_failed   integer     NOT NULL DEFAULT 0,
    fence              integer     NOT NULL DEFAULT 0,   -- grows with each claim, and makes a late writer harmless
    kind               smallint    NOT NULL,             -- 1: operation.finished, 2: operation.failed, 3: credential.expiring
    operation_status   smallint    NOT NULL DEFAULT 0,
    state              smallint    NOT NULL DEFAULT 1,   -- 1: to be sent, 2: delivered, 3: given up
    tries              smallint    NOT NULL DEFAULT 0,
    http_status        smallint    NOT NULL DEFAULT 0,   -- of the last answer; 0: there was none
    client_service     text        NOT NULL,
    subject            text        NOT NULL DEFAULT '',  -- of an event that is not about an operation: what it is about, once
    details            text        NOT NULL DEFAULT '',  -- of such an event: what is told of it, in JSON
    problem            text        NOT NULL DEFAULT ''   -- why the last try failed
);

-- This index holds only events that are still to be sent.
CREATE INDEX webhook_events_to_send ON webhook_events (client_service, next_try_at) WHERE state = 1;
-- Old events are found by their time. They come in its order, so this index costs next to nothing.
CREATE INDEX webhook_events_by_time ON webhook_events USING brin (occurred_at) WITH (pages_per_range = 16);
CREATE UNIQUE INDEX webhook_events_told_once ON webhook_events (client_service, subject) WHERE operation_id IS NULL;

-- An operation has ended, in whatever way: its client service is told, if it has a webhook. The event is part of the transaction of
-- the end. A connection of a caller can write no other event than this.
CREATE FUNCTION note_end_for_webhook() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
BEGIN
    INSERT INTO webhook_events (
        client_service, kind, operation_id, occurred_at, operation_status, documents_total, documents_signed, documents_failed)
    SELECT NEW.client_service, CASE WHEN NEW.status = 2 THEN 1 ELSE 2 END, NEW.id, NEW.finished_at, NEW.status,
           NEW.documents_total, NEW.documents_signed, NEW.documents_failed
    FROM webhook_endpoints e
    WHERE e.client_service = NEW.client_service AND e.off_since IS NULL
      AND CASE WHEN NEW.status = 2 THEN e.finished ELSE e.failed END;
    RETURN NULL;
END $$;

-- Whatever else is written to the row of an operation costs one comparison.
CREATE TRIGGER end_for_webhook AFTER UPDATE ON operations
    FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL)
    EXECUTE FUNCTION note_end_for_webhook();

ALTER TABLE webhook_endpoints ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY one_client_service ON webhook_endpoints FOR SELECT USING (may_see(client_service));
CREATE POLICY for_the_service ON webhook_endpoints USING (current_setting('batchseal.scope', true) = '*');

ALTER TABLE webhook_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY written_with_its_operation ON webhook_events FOR INSERT WITH CHECK (may_see(client_service));
CREATE POLICY for_the_service ON webhook_events USING (current_setting('batchseal.scope', true) = '*');
