-- What the people who run the service see and do: what lists need, what was used, samples of figures, and the functions by which an
-- operator changes anything. The role of operators is made by operator_role.sql.

-- Newest first, by client service, by what is not signed, by the beginning of a reference. The last but one holds few rows: an
-- operation leaves it when it is executed.
CREATE INDEX operations_by_client_service ON operations (client_service, id);
CREATE INDEX operations_not_executed ON operations (id) WHERE status <> 2;
CREATE INDEX operations_by_reference_prefix ON operations (external_reference COLLATE "C", id);
-- Failed documents alone. Its condition names a column that a document which is signed never changes, so that the update of such a
-- row still needs no new entry in any index.
CREATE INDEX documents_with_errors ON documents (operation_id) WHERE sign_error <> 0;
CREATE INDEX audit_by_operation ON audit (operation_id);

ALTER TABLE operations
    ADD COLUMN reopened_at    timestamptz,                   -- when it was last opened again: patience begins anew
    ADD COLUMN purge_asked_at timestamptz,                   -- when an operator asked for its payload to be purged
    -- What has been used since the last end of the operation, or since its registration. The next end counts it.
    ADD COLUMN signed_bytes   bigint  NOT NULL DEFAULT 0,    -- of the documents that were signed, as they came
    ADD COLUMN time_stamps    integer NOT NULL DEFAULT 0,
    -- How many documents were signed and had failed at the last end. Both are 0 before the first one.
    ADD COLUMN signed_before  integer NOT NULL DEFAULT 0,
    ADD COLUMN failed_before  integer NOT NULL DEFAULT 0;

-- Who acted, from where, and what was done in words. An entry that is about no operation has operation 0.
ALTER TABLE audit_pending
    ADD COLUMN actor       text    NOT NULL DEFAULT '',
    ADD COLUMN origin      text    NOT NULL DEFAULT '',
    ADD COLUMN detail      text    NOT NULL DEFAULT '',
    -- What an end adds to the consumption. Null in entries of an earlier release.
    ADD COLUMN signed_more  integer,
    ADD COLUMN failed_more  integer,
    ADD COLUMN time_stamps  integer,
    ADD COLUMN signed_bytes bigint;

-- The same of entries in the chain, for those that have it: few. Their links are about it too.
CREATE TABLE audit_actors (
    position bigint NOT NULL PRIMARY KEY,
    month    date   NOT NULL,
    actor    text   NOT NULL,
    origin   text   NOT NULL,
    detail   text   NOT NULL
);

-- A row may only go with its entry.
CREATE FUNCTION refuse_while_entry_is_there() RETURNS trigger
LANGUAGE plpgsql SET search_path = batchseal, pg_temp AS $$
BEGIN
    IF to_regclass('audit' || to_char(OLD.month, '_YYYY_MM')) IS NOT NULL THEN
        RAISE EXCEPTION 'the audit trail is append-only';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE ON audit_actors FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER goes_with_its_entry BEFORE DELETE ON audit_actors FOR EACH ROW EXECUTE FUNCTION refuse_while_entry_is_there();

ALTER TABLE audit_actors ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON audit_actors USING (current_setting('batchseal.scope', true) = '*');

-- As before, and who acted goes with the entries.
CREATE OR REPLACE FUNCTION drop_audit(month date) RETURNS boolean
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
    DELETE FROM audit_actors a WHERE a.month = first;
    RETURN true;
END $$;

-- What each client service used, of the operations that it registered in a month (UTC). Kept for ten years: the rows that it was
-- counted from go earlier.
CREATE TABLE consumption (
    client_service text    NOT NULL,
    month          date    NOT NULL,
    signatures     bigint  NOT NULL DEFAULT 0,
    failures       bigint  NOT NULL DEFAULT 0,
    time_stamps    bigint  NOT NULL DEFAULT 0,
    content_bytes  bigint  NOT NULL DEFAULT 0,   -- of the documents that were signed, as they came
    PRIMARY KEY (month, client_service)
) WITH (fillfactor = 50);
-- What ended before there was this table, as far as its rows are there and its end is in the chain already. What waits for that is
-- counted then.
INSERT INTO consumption (client_service, month, signatures, failures)
SELECT client_service, date_trunc('month', created_at AT TIME ZONE 'UTC')::date, sum(documents_signed), sum(documents_failed)
FROM operations o
WHERE status IN (2, 4) AND NOT EXISTS (SELECT FROM audit_pending a WHERE a.operation_id = o.id AND a.event = 2)
GROUP BY 1, 2;
UPDATE operations SET signed_before = documents_signed, failed_before = documents_failed WHERE status = 4;

-- One row for each minute and metric: store/samples.py has the names. Rows go after 30 days.
CREATE TABLE samples (
    at     timestamptz      NOT NULL,
    metric smallint         NOT NULL,
    value  double precision NOT NULL,
    PRIMARY KEY (metric, at)
);

-- What signers noted of credentials. The grant of a credential that needs a person (a one-time password) is kept, so that a restart
-- and other instances can go on with it; it is encrypted, and the key is not in the database (upstream/kept_grants.py).
CREATE TABLE credentials (
    credential_id   text        NOT NULL,
    client_service  text        NOT NULL,
    facts           jsonb       NOT NULL DEFAULT '{}',       -- of its certificate and its key
    noted_at        timestamptz NOT NULL DEFAULT now(),
    needs_otp       boolean     NOT NULL DEFAULT false,
    problem         text        NOT NULL DEFAULT '',         -- why it cannot sign now; empty: nothing is known
    grant_value     bytea       NOT NULL DEFAULT '',         -- encrypted; empty: there is none
    grant_number    bigint      NOT NULL DEFAULT 0,          -- grows with each grant that replaces another one
    grant_began_at  timestamptz,
    grant_ends_at   timestamptz,
    grant_total     integer,
    grant_left      integer,
    PRIMARY KEY (credential_id, client_service)
) WITH (fillfactor = 50);

-- The sign calls that documents of an operation were in, for the page of the operation. Those of an operation with few documents are
-- kept only if they failed. Rows go after 31 days.
CREATE TABLE upstream_calls (
    operation_id bigint      NOT NULL,
    at           timestamptz NOT NULL,
    digests      integer     NOT NULL,
    milliseconds integer     NOT NULL,
    outcome      text        NOT NULL,
    cause        text        NOT NULL DEFAULT ''
);
CREATE INDEX upstream_calls_of_operation ON upstream_calls (operation_id);
CREATE INDEX upstream_calls_by_time ON upstream_calls USING brin (at);

ALTER TABLE consumption ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON consumption USING (current_setting('batchseal.scope', true) = '*');
ALTER TABLE samples ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON samples USING (current_setting('batchseal.scope', true) = '*');
ALTER TABLE upstream_calls ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON upstream_calls USING (current_setting('batchseal.scope', true) = '*');
ALTER TABLE credentials ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON credentials USING (current_setting('batchseal.scope', true) = '*');

-- An operator's connection sets `batchseal.scope = 'operator'`. It sees the rows of all client services, and can write none: these
-- policies are for reading alone, whatever rights its role may have. Tables that are not listed here show it nothing.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['operations', 'documents', 'signatures', 'evidence_records', 'audit', 'audit_pending', 'audit_actors',
                                'credential_lanes', 'duties', 'time_stamp_requests', 'consumption', 'samples', 'credentials',
                                'upstream_calls'] LOOP
        EXECUTE format('CREATE POLICY for_operators ON %I FOR SELECT USING (current_setting(''batchseal.scope'', true) = ''operator'')',
                       name);
    END LOOP;
    -- These tables let a connection write to the rows of the operations that it sees. One for operators sees all of them.
    FOREACH name IN ARRAY ARRAY['documents', 'signatures', 'evidence_records'] LOOP
        EXECUTE format('CREATE POLICY operators_insert_nothing ON %I AS RESTRICTIVE FOR INSERT
                        WITH CHECK (current_setting(''batchseal.scope'', true) IS DISTINCT FROM ''operator'')', name);
        EXECUTE format('CREATE POLICY operators_update_nothing ON %I AS RESTRICTIVE FOR UPDATE
                        USING (current_setting(''batchseal.scope'', true) IS DISTINCT FROM ''operator'')', name);
        EXECUTE format('CREATE POLICY operators_delete_nothing ON %I AS RESTRICTIVE FOR DELETE
                        USING (current_setting(''batchseal.scope'', true) IS DISTINCT FROM ''operator'')', name);
    END LOOP;
END $$;

-- The functions by which an operator changes something. Each runs with the rights of the owner, for whom row security holds as
-- well: it sees all rows for its own length (`batchseal.scope`), and only then. It takes the operations one after the other, locks
-- each, and looks at it as it is then. So it cannot collide with a signer: what a signer writes names a fence and a lease, and none
-- of its statements changes an operation that has none. Each change has its audit entry in the same transaction.

-- Opens failed documents of failed operations again. An operation whose result was fetched is left alone without `also_fetched`.
-- Documents in which the fault itself lies (sign_error 9) are left alone without `everything`. With `only_error` these documents
-- alone are meant which failed with this error and cause. The error and the cause stay in the rows until the documents end again:
-- a document that was refused on arrival was never stored, so the signer can only say again why it was refused.
CREATE FUNCTION operator_retry(operation_ids bigint[], who text, origin text, also_fetched boolean, everything boolean,
                               only_error smallint, only_cause text)
RETURNS TABLE (operation_id bigint, result text, documents integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    one operations;
    reopened integer[];
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    FOREACH operation_id IN ARRAY operation_ids LOOP
        documents := 0;
        SELECT * INTO one FROM operations o WHERE o.id = operation_id FOR UPDATE;
        result := CASE WHEN NOT FOUND THEN 'unknown'
                       WHEN one.status IN (1, 3) THEN 'unfinished'
                       WHEN one.status = 2 THEN 'signed'
                       WHEN one.payload_purged OR one.purge_asked_at IS NOT NULL THEN 'purged'
                       WHEN one.token_holder IS NOT NULL THEN 'callers token'
                       WHEN one.fetched_at IS NOT NULL AND NOT also_fetched THEN 'fetched'
                       ELSE 'done' END;
        IF result = 'done' THEN
            PERFORM make_signatures_partition((one.created_at AT TIME ZONE 'UTC')::date);
            WITH open AS (
                UPDATE documents d SET status = 1
                WHERE d.month = date_trunc('month', one.created_at AT TIME ZONE 'UTC')::date AND d.operation_id = one.id
                  AND d.status = 3 AND (everything OR d.sign_error <> 9)
                  AND (only_error IS NULL OR (d.sign_error = only_error AND d.cause = only_cause))
                RETURNING d.ordinal
            )
            SELECT array_agg(ordinal) INTO reopened FROM open;
            documents := coalesce(cardinality(reopened), 0);
            IF documents = 0 THEN
                result := 'nothing to retry';
            ELSE
                INSERT INTO signatures AS s (operation_id, day, ordinal)
                SELECT one.id, (one.created_at AT TIME ZONE 'UTC')::date, unnest(reopened)
                ON CONFLICT ON CONSTRAINT signatures_pkey DO UPDATE SET tries = 0;
                UPDATE operations o
                SET status = 1, finished_at = NULL, fetched_at = NULL, tries = 0, next_try_at = NULL, reopened_at = now(),
                    documents_failed = one.documents_failed - documents, signed_before = one.documents_signed,
                    failed_before = one.documents_failed, signed_bytes = 0, time_stamps = 0
                WHERE o.id = one.id;
                INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest,
                                           actor, origin, detail)
                VALUES (one.id, one.instance, one.payload_id, 8, one.documents_signed, documents, one.client_service, '',
                        who, operator_retry.origin, CASE WHEN one.fetched_at IS NULL THEN '' ELSE 'its result had been fetched' END);
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    PERFORM pg_notify('batchseal_left', '');
    PERFORM set_config('batchseal.scope', before, true);
END $$;

-- Ends unfinished operations: documents that have not ended fail, and the fence grows, so that nothing is written any more by who
-- works on them. An operation all of whose documents have ended is about to end by itself.
CREATE FUNCTION operator_cancel(operation_ids bigint[], who text, origin text)
RETURNS TABLE (operation_id bigint, result text, documents integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    one operations;
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    FOREACH operation_id IN ARRAY operation_ids LOOP
        documents := 0;
        SELECT * INTO one FROM operations o WHERE o.id = operation_id FOR UPDATE;
        result := CASE WHEN NOT FOUND THEN 'unknown' WHEN one.status IN (2, 4) THEN 'finished'
                       WHEN one.documents_signed + one.documents_failed = one.documents_total THEN 'ending'
                       ELSE 'done' END;
        IF result = 'done' THEN
            PERFORM make_signatures_partition((one.created_at AT TIME ZONE 'UTC')::date);
            UPDATE documents d SET status = 3, sign_error = 8, cause = 'cancelled by an operator'
            WHERE d.month = date_trunc('month', one.created_at AT TIME ZONE 'UTC')::date AND d.operation_id = one.id AND d.status = 1;
            GET DIAGNOSTICS documents = ROW_COUNT;
            UPDATE operations o
            SET status = 4, documents_failed = o.documents_failed + documents, fence = o.fence + 1, next_try_at = NULL,
                lease_holder = NULL, lease_until = NULL, finished_at = date_trunc('milliseconds', clock_timestamp())
            WHERE o.id = one.id
            RETURNING * INTO one;
            INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest,
                                       actor, origin, signed_more, failed_more, time_stamps, signed_bytes)
            VALUES (one.id, one.instance, one.payload_id, 9, one.documents_signed, documents, one.client_service, '',
                    who, operator_cancel.origin, NULL, NULL, NULL, NULL),
                   (one.id, one.instance, one.payload_id, 2, one.documents_signed, one.documents_failed, one.client_service, '',
                    '', '', one.documents_signed - one.signed_before, one.documents_failed - one.failed_before, one.time_stamps,
                    one.signed_bytes);
            -- As where an operation ends otherwise (query record_outcomes).
            IF one.evidence_record THEN
                INSERT INTO evidence_records AS r (operation_id, day, instance, asked_at)
                VALUES (one.id, (one.created_at AT TIME ZONE 'UTC')::date, one.instance, one.finished_at)
                ON CONFLICT ON CONSTRAINT evidence_records_pkey DO UPDATE
                SET state = 1, fence = r.fence + 1, tries = 0, asked_at = excluded.asked_at, ended_at = NULL, next_try_at = NULL,
                    ordinals = '{}', digests = '', token = '';
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
    PERFORM set_config('batchseal.scope', before, true);
END $$;

-- Has payloads of finished operations purged by the instance that has them, in its next round.
CREATE FUNCTION operator_purge(operation_ids bigint[], who text, origin text)
RETURNS TABLE (operation_id bigint, result text, documents integer)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    one operations;
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    FOREACH operation_id IN ARRAY operation_ids LOOP
        documents := 0;
        SELECT * INTO one FROM operations o WHERE o.id = operation_id FOR UPDATE;
        result := CASE WHEN NOT FOUND THEN 'unknown' WHEN one.status IN (1, 3) THEN 'unfinished'
                       WHEN one.payload_purged OR one.purge_asked_at IS NOT NULL THEN 'purged' ELSE 'done' END;
        IF result = 'done' THEN
            documents := one.documents_total;
            UPDATE operations o SET purge_asked_at = now() WHERE o.id = one.id;
            INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest,
                                       actor, origin, detail)
            VALUES (one.id, one.instance, one.payload_id, 10, one.documents_signed, one.documents_failed, one.client_service, '',
                    who, operator_purge.origin, CASE WHEN one.fetched_at IS NULL THEN 'its result had not been fetched' ELSE '' END);
        END IF;
        RETURN NEXT;
    END LOOP;
    PERFORM set_config('batchseal.scope', before, true);
END $$;

-- An entry of the audit trail for what was done to no operation.
CREATE FUNCTION operator_note(who text, origin text, detail text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    nobody uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest, actor, origin, detail)
    VALUES (0, nobody, nobody, 11, 0, 0, '', '', who, operator_note.origin, operator_note.detail);
    PERFORM set_config('batchseal.scope', before, true);
END $$;

REVOKE ALL ON FUNCTION operator_retry(bigint[], text, text, boolean, boolean, smallint, text), operator_cancel(bigint[], text, text),
    operator_purge(bigint[], text, text), operator_note(text, text, text) FROM PUBLIC;

-- The id of the newest operation that was registered at this time or before: ids grow with the time of registration, but for a few
-- seconds. 0: there is none. It looks at about twenty rows.
CREATE FUNCTION operation_id_at(wanted timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path = batchseal, pg_temp AS $$
DECLARE
    low bigint := 0;
    high bigint;
    middle bigint;
    found_id bigint;
    found_at timestamptz;
BEGIN
    SELECT max(id) INTO high FROM operations;
    WHILE low < coalesce(high, 0) LOOP
        middle := low + (high - low + 1) / 2;
        SELECT o.id, o.created_at INTO found_id, found_at FROM operations o WHERE o.id <= middle ORDER BY o.id DESC LIMIT 1;
        IF found_id IS NULL OR found_id <= low THEN
            low := middle;
        ELSIF found_at <= wanted THEN
            low := middle;
        ELSE
            high := found_id - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;
