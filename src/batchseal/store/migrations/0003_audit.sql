-- The audit trail has an entry for each event of an operation. The entry is written in the transaction of the event. A moment
-- later it is moved into the chain, which gives the entries of all instances one order.

CREATE TABLE audit_pending (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at             timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
    operation_id   bigint      NOT NULL,
    instance       uuid        NOT NULL,
    payload_id     uuid        NOT NULL,
    event          smallint    NOT NULL,  -- audit/chain.py
    signed         integer     NOT NULL,
    failed         integer     NOT NULL,
    client_service text        NOT NULL,
    digest         bytea       NOT NULL   -- SHA-256 over the documents' digests, or empty if the event has none
);

CREATE TABLE audit (
    position       bigint      NOT NULL,
    at             timestamptz NOT NULL,
    operation_id   bigint      NOT NULL,
    month          date        NOT NULL,
    signed         integer     NOT NULL,
    failed         integer     NOT NULL,
    event          smallint    NOT NULL,
    client_service text        NOT NULL,
    digest         bytea       NOT NULL,
    credential     bytea       NOT NULL,  -- fingerprint of the certificate chain that signed
    link           bytea       NOT NULL,  -- SHA-256 over the link before it and this entry
    PRIMARY KEY (position, month)
) PARTITION BY RANGE (month);

-- The last link of each month that was exported. After its entries were dropped, the chain goes on from here.
CREATE TABLE audit_anchors (
    month         date   PRIMARY KEY,
    last_position bigint NOT NULL,
    entries       bigint NOT NULL,
    last_link     bytea  NOT NULL,
    file          text   NOT NULL,
    exported_at   timestamptz NOT NULL DEFAULT now()
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_anchors FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- Returns true if the month was dropped, false if no anchor matches the entries that it has.
CREATE FUNCTION drop_audit(month date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    first date := date_trunc('month', month)::date;
    name text := 'audit' || to_char(first, '_YYYY_MM');
    anchored boolean;
BEGIN
    PERFORM set_config('lock_timeout', '2s', true);
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', name);
    EXECUTE format('SELECT a.last_position = (SELECT max(position) FROM %I)
                       AND a.entries = (SELECT count(*) FROM %I)
                    FROM audit_anchors a WHERE a.month = $1', name, name) INTO anchored USING first;
    IF anchored IS NOT TRUE OR (first + interval '1 month') AT TIME ZONE 'UTC' > now() THEN
        RETURN false;
    END IF;
    EXECUTE format('DROP TABLE %I', name);
    RETURN true;
END $$;
