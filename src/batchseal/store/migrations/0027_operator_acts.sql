-- What operators do: an act that begins something anew counts from there, and the trail says for good who has acted. At the end:
-- what an earlier release ends counts in the consumption.

-- An event is given up where it is too old. One that an operator has sent again is as old as that.
ALTER TABLE webhook_events ADD COLUMN redelivered_at timestamptz;  -- when it was last sent again; NULL: never

-- As in migration 0023, but for that.
CREATE OR REPLACE FUNCTION operator_redeliver(event_ids uuid[], of_client_service text, who text, origin text) RETURNS integer
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
        SET state = 1, tries = 0, fence = e.fence + 1, next_try_at = now(), claimed_until = NULL, ended_at = NULL,
            redelivered_at = now()
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

-- As in migration 0023, but the patience with an operation begins anew (`reopened_at`), as at a retry: it may have been held for days.
CREATE OR REPLACE FUNCTION operator_resume(operation_ids bigint[], who text, origin text)
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
            UPDATE operations o SET held_at = NULL, next_try_at = NULL, reopened_at = now() WHERE o.id = one.id;
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

-- Who is signed in by an OpenID provider: the subject at its issuer. The name of a session may become that of somebody else.
ALTER TABLE operator_sessions ADD COLUMN identity text NOT NULL DEFAULT '';

-- Cookies are named by the database whose sessions they are of.
CREATE POLICY for_operators ON database_identity FOR SELECT USING (current_setting('batchseal.scope', true) = 'operators');

-- Consumption is counted by whoever moves the entry of an end into the chain. An instance of release 0.1 that still runs beside this
-- one moves the entries of its own ends, and knows of no consumption. So the database counts them, in the same transaction. Such an
-- entry says only how many documents were signed and failed in all.
CREATE FUNCTION count_end_of_earlier_release() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    INSERT INTO consumption AS c (client_service, month, signatures, failures)
    SELECT OLD.client_service, date_trunc('month', o.created_at AT TIME ZONE 'UTC')::date, OLD.signed, OLD.failed
    FROM operations o WHERE o.id = OLD.operation_id
    ON CONFLICT (month, client_service) DO UPDATE
    SET signatures = c.signatures + excluded.signatures, failures = c.failures + excluded.failures;
    PERFORM set_config('batchseal.scope', before, true);
    RETURN NULL;
END $$;

-- The setting lasts for the transaction of whoever counts (see the query `audit_take`).
CREATE TRIGGER end_of_earlier_release AFTER DELETE ON audit_pending
    FOR EACH ROW WHEN (OLD.event = 2 AND OLD.signed_more IS NULL
                       AND current_setting('batchseal.counts_consumption', true) IS DISTINCT FROM 'yes')
    EXECUTE FUNCTION count_end_of_earlier_release();
