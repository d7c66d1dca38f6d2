-- What an operator decides beside retry, cancel and purge: what is held after a restore, and which webhook events are sent again. And
-- when the chain of the audit trail was last verified.

-- Few rows: operations that were held after a restore.
CREATE INDEX operations_held ON operations (id) WHERE held_at IS NOT NULL;

-- As in migration 0017, and an operation that was held after a restore is held no more: whoever retries it, or hands it in again, wants
-- it to be signed. One that is held does not end by itself either, so it is ended even if all its documents have ended.
CREATE OR REPLACE FUNCTION operator_cancel(operation_ids bigint[], who text, origin text)
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
                       WHEN one.documents_signed + one.documents_failed = one.documents_total AND one.held_at IS NULL THEN 'ending'
                       ELSE 'done' END;
        IF result = 'done' THEN
            PERFORM make_signatures_partition((one.created_at AT TIME ZONE 'UTC')::date);
            UPDATE documents d SET status = 3, sign_error = 8, cause = 'cancelled by an operator'
            WHERE d.month = date_trunc('month', one.created_at AT TIME ZONE 'UTC')::date AND d.operation_id = one.id AND d.status = 1;
            GET DIAGNOSTICS documents = ROW_COUNT;
            UPDATE operations o
            SET status = CASE WHEN o.documents_failed + documents = 0 THEN 2 ELSE 4 END,
                documents_failed = o.documents_failed + documents, fence = o.fence + 1, next_try_at = NULL, held_at = NULL,
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

-- Lets operations be signed that are held after a restore. They are due at once. `documents` are those that are open.
CREATE FUNCTION operator_resume(operation_ids bigint[], who text, origin text)
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
        result := CASE WHEN NOT FOUND THEN 'unknown' WHEN one.status IN (2, 4) THEN 'finished' WHEN one.held_at IS NULL THEN 'not held'
                       ELSE 'done' END;
        IF result = 'done' THEN
            documents := one.documents_total - one.documents_signed - one.documents_failed;
            UPDATE operations o SET held_at = NULL, next_try_at = NULL WHERE o.id = one.id;
            INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest, actor, origin,
                                       detail)
            VALUES (one.id, one.instance, one.payload_id, 12, one.documents_signed, one.documents_failed, one.client_service, '', who,
                    operator_resume.origin, 'it was held after a restore');
        END IF;
        RETURN NEXT;
    END LOOP;
    PERFORM pg_notify('batchseal_left', '');
    PERFORM set_config('batchseal.scope', before, true);
END $$;

-- Events that were given up or are still to be sent: lists walk along it. An event leaves it when it is delivered.
CREATE INDEX webhook_events_not_delivered ON webhook_events (number) WHERE state <> 2;

-- Sends webhook events once more, with all their tries: those with these ids; where that is null, all of a client service that were
-- given up. A webhook that is off gets none. Returns how many there were; if there was one, the audit trail says who asked.
CREATE FUNCTION operator_redeliver(event_ids uuid[], of_client_service text, who text, origin text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    nobody uuid := '00000000-0000-0000-0000-000000000000';
    sent integer;
    named text;
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    WITH again AS (
        UPDATE webhook_events e
        SET state = 1, tries = 0, fence = e.fence + 1, next_try_at = now(), claimed_until = NULL, ended_at = NULL
        WHERE CASE WHEN event_ids IS NULL THEN e.state = 3 AND e.client_service = of_client_service ELSE e.id = ANY (event_ids) END
          AND EXISTS (SELECT FROM webhook_endpoints p WHERE p.client_service = e.client_service AND p.off_since IS NULL)
        RETURNING e.client_service
    )
    SELECT count(*), string_agg(DISTINCT client_service, ', ') INTO sent, named FROM again;
    IF sent > 0 THEN
        INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest, actor, origin,
                                   detail)
        VALUES (0, nobody, nobody, 11, 0, 0, '', '', who, operator_redeliver.origin,
                left(format('had webhook events of %s sent again: %s', named,
                            CASE WHEN event_ids IS NULL THEN sent || ' that were given up' ELSE event_ids::text END), 1000));
    END IF;
    PERFORM set_config('batchseal.scope', before, true);
    RETURN sent;
END $$;

-- The last verification of the chain, in one row: where the chain ended then, how many entries were looked at, and what was wrong.
CREATE TABLE audit_verified (
    is_last     boolean     PRIMARY KEY DEFAULT true CHECK (is_last),   -- there is one row
    at          timestamptz NOT NULL,
    position    bigint      NOT NULL,
    link        bytea       NOT NULL,
    entries     bigint      NOT NULL,
    problem     text        NOT NULL,        -- the first one; empty: the chain was intact
    intact_at   timestamptz                  -- when the chain was last found intact
) WITH (fillfactor = 50);

ALTER TABLE audit_verified ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY for_the_service ON audit_verified USING (current_setting('batchseal.scope', true) = '*');

-- Notes a verification that an operator asked for. The audit trail says who.
CREATE FUNCTION operator_verified(last_position bigint, last_link bytea, entries bigint, problems bigint, problem text, who text,
                                  origin text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    nobody uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    INSERT INTO audit_verified AS v (at, position, link, entries, problem, intact_at)
    VALUES (now(), last_position, last_link, operator_verified.entries, operator_verified.problem,
            CASE WHEN problems = 0 THEN now() END)
    ON CONFLICT ON CONSTRAINT audit_verified_pkey DO UPDATE
    SET at = excluded.at, position = excluded.position, link = excluded.link, entries = excluded.entries, problem = excluded.problem,
        intact_at = coalesce(excluded.intact_at, v.intact_at);
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest, actor, origin, detail)
    VALUES (0, nobody, nobody, 11, 0, 0, '', '', who, operator_verified.origin,
            format('checked %s entries of the audit trail: %s', operator_verified.entries,
                   CASE WHEN problems = 0 THEN 'intact' ELSE problems || ' problems' END));
    PERFORM set_config('batchseal.scope', before, true);
END $$;

REVOKE ALL ON FUNCTION operator_resume(bigint[], text, text), operator_redeliver(uuid[], text, text, text),
    operator_verified(bigint, bytea, bigint, bigint, text, text, text) FROM PUBLIC;

CREATE POLICY for_operators ON audit_verified FOR SELECT USING (current_setting('batchseal.scope', true) = 'operator');
CREATE POLICY for_operators ON webhook_endpoints FOR SELECT USING (current_setting('batchseal.scope', true) = 'operator');
CREATE POLICY for_operators ON webhook_events FOR SELECT USING (current_setting('batchseal.scope', true) = 'operator');
