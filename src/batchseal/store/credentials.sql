-- name: note_credential
-- Notes what a signer has read of a credential. Its grant stays as it is.
INSERT INTO credentials AS c (credential_id, client_service, facts, needs_otp) VALUES ($1, $2, $3, $4)
ON CONFLICT (credential_id, client_service) DO UPDATE
SET facts = excluded.facts, needs_otp = excluded.needs_otp, noted_at = now(),
    problem = CASE WHEN c.needs_otp AND excluded.needs_otp THEN c.problem ELSE '' END;

-- name: note_credential_problem
-- Notes why a credential cannot be used.
INSERT INTO credentials AS c (credential_id, client_service, problem) VALUES ($1, $2, $3)
ON CONFLICT (credential_id, client_service) DO UPDATE SET problem = excluded.problem, noted_at = now();

-- name: kept_grant
-- The grant of a credential, if there is one that has not ended.
SELECT grant_value AS value, grant_number AS number, grant_ends_at AS ends_at, grant_total AS total, grant_left AS left
FROM credentials WHERE credential_id = $1 AND client_service = $2 AND grant_value <> '' AND grant_ends_at > now();

-- name: spend_grant
-- Books signatures ($4) before they are made, if the grant ($3) is still the present one and has so many left.
UPDATE credentials SET grant_left = grant_left - $4
WHERE credential_id = $1 AND client_service = $2 AND grant_number = $3 AND grant_left >= $4 AND grant_ends_at > now()
RETURNING grant_left;

-- name: extend_grant
-- The value of a grant ($3) has become another one. The end and what is left of it stay.
UPDATE credentials SET grant_value = $4 WHERE credential_id = $1 AND client_service = $2 AND grant_number = $3;

-- name: end_grant
-- A grant ($3) is of no use any more.
UPDATE credentials SET grant_value = '', grant_ends_at = least(grant_ends_at, now()), problem = $4
WHERE credential_id = $1 AND client_service = $2 AND grant_number = $3;

-- name: renew_grant
-- A new grant in place of whatever was there. What waits for it goes on at once.
WITH renewed AS (
    INSERT INTO credentials AS c (credential_id, client_service, needs_otp, grant_value, grant_number, grant_began_at, grant_ends_at,
                                  grant_total, grant_left)
    VALUES ($1, $2, true, $3, 1, now(), now() + $4 * interval '1 second', $5, $5)
    ON CONFLICT (credential_id, client_service) DO UPDATE
    SET needs_otp = true, grant_value = excluded.grant_value, grant_number = c.grant_number + 1, problem = '', noted_at = now(),
        grant_began_at = excluded.grant_began_at, grant_ends_at = excluded.grant_ends_at, grant_total = excluded.grant_total,
        grant_left = excluded.grant_left
    RETURNING grant_ends_at
), woken AS (
    UPDATE operations SET next_try_at = NULL
    WHERE client_service = $2 AND status = 3 AND lease_holder IS NULL
    RETURNING id
)
SELECT grant_ends_at AS ends_at, (SELECT count(*) FROM woken) AS woken, pg_notify('batchseal_left', '') FROM renewed;

-- name: grants_state
-- The grants of credentials that need a person. For metrics and remarks.
SELECT credential_id, client_service, grant_total AS total, grant_left AS left,
       extract(epoch FROM grant_ends_at - now())::float8 AS seconds
FROM credentials WHERE needs_otp ORDER BY 1, 2;
