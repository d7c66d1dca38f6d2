-- A chain that was found broken stays so until it is found intact again, or somebody has acknowledged it. What the last intact
-- verification has seen (`position`, `link`) is kept meanwhile: the next one compares with it, and not with what was rewritten.

ALTER TABLE audit_verified
    ADD COLUMN broken_after bigint,                    -- behind this entry the verification began that found the chain broken; NULL: none
    ADD COLUMN accepted     bigint NOT NULL DEFAULT 0; -- up to this entry somebody has acknowledged what is broken

-- Notes a verification that began behind the entry `began_after`. One that is intact ends the alarm only if it has looked at all that
-- the broken one had looked at.
CREATE FUNCTION note_chain_verified(last_position bigint, last_link bytea, looked_at bigint, found text, began_after bigint) RETURNS void
LANGUAGE sql SET search_path = batchseal, pg_temp AS $$
    INSERT INTO audit_verified AS v (at, position, link, entries, problem, intact_at, broken_after)
    VALUES (now(), last_position, last_link, looked_at, found, CASE WHEN found = '' THEN now() END,
            CASE WHEN found <> '' THEN began_after END)
    ON CONFLICT ON CONSTRAINT audit_verified_pkey DO UPDATE
    SET (at, entries, position, link, problem, intact_at, broken_after) = (
        SELECT now(), looked_at,
               CASE WHEN is_intact THEN last_position ELSE v.position END,
               CASE WHEN is_intact THEN last_link ELSE v.link END,
               CASE WHEN is_intact THEN '' WHEN found <> '' THEN found ELSE v.problem END,
               CASE WHEN is_intact THEN now() ELSE v.intact_at END,
               CASE WHEN is_intact THEN NULL WHEN found <> '' THEN least(v.broken_after, began_after) ELSE v.broken_after END
        FROM (SELECT found = '' AND (v.broken_after IS NULL OR began_after <= v.broken_after)) i (is_intact))
$$;

-- Notes a verification that an operator asked for. The audit trail says who.
CREATE FUNCTION operator_verified(last_position bigint, last_link bytea, entries bigint, problems bigint, problem text, who text,
                                  origin text, began_after bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    nobody uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    PERFORM note_chain_verified(last_position, last_link, operator_verified.entries, operator_verified.problem, began_after);
    INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest, actor, origin, detail)
    VALUES (0, nobody, nobody, 11, 0, 0, '', '', who, operator_verified.origin,
            format('checked %s entries of the audit trail: %s', operator_verified.entries,
                   CASE WHEN problems = 0 THEN 'intact' ELSE problems || ' problems' END));
    PERFORM set_config('batchseal.scope', before, true);
END $$;

-- As instances of the release before call it, which do not say where they began: that ends no alarm.
CREATE OR REPLACE FUNCTION operator_verified(last_position bigint, last_link bytea, entries bigint, problems bigint, problem text,
                                             who text, origin text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
    SELECT operator_verified(last_position, last_link, entries, problems, problem, who, origin, 9223372036854775807)
$$;

-- Acknowledges that the chain is broken as it was found: what is broken up to its end is no alarm any more. Returns what was
-- acknowledged; empty where there was nothing.
CREATE FUNCTION operator_accept_chain(who text, origin text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = batchseal, pg_temp AS $$
DECLARE
    before text := coalesce(current_setting('batchseal.scope', true), '');
    nobody uuid := '00000000-0000-0000-0000-000000000000';
    found text;
BEGIN
    PERFORM set_config('batchseal.scope', '*', true);
    SELECT problem INTO found FROM audit_verified WHERE problem <> '' FOR UPDATE;
    IF found <> '' THEN
        UPDATE audit_verified v
        SET problem = '', broken_after = NULL, position = coalesce(e.position, 0), link = coalesce(e.link, ''),
            accepted = coalesce(e.position, 0)
        FROM (SELECT 1) one LEFT JOIN (
            SELECT position, link FROM (
                SELECT position, link FROM audit
                UNION ALL SELECT last_position, last_link FROM audit_anchors
            ) ends
            ORDER BY position DESC LIMIT 1
        ) e ON true;
        INSERT INTO audit_pending (operation_id, instance, payload_id, event, signed, failed, client_service, digest, actor, origin,
                                   detail)
        VALUES (0, nobody, nobody, 11, 0, 0, '', '', who, operator_accept_chain.origin,
                left(format('acknowledged that the audit trail is broken: %s', found), 1000));
    END IF;
    PERFORM set_config('batchseal.scope', before, true);
    RETURN coalesce(found, '');
END $$;

REVOKE ALL ON FUNCTION operator_verified(bigint, bytea, bigint, bigint, text, text, text, bigint), operator_accept_chain(text, text)
    FROM PUBLIC;
