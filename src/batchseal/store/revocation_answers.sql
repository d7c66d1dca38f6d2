-- name: revocation_answer
-- What was last said of a certificate, if it still counts.
SELECT kind, content, fetched_at, until FROM revocation_answers WHERE certificate = $1 AND until > now();

-- name: keep_revocation_answer
-- Keeps an answer, unless a newer one came meanwhile. What does not count any more goes, so that the table stays small.
WITH ended AS (DELETE FROM revocation_answers WHERE until <= now() AND certificate <> $1)
INSERT INTO revocation_answers AS kept (certificate, kind, content, fetched_at, until) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (certificate) DO UPDATE
SET kind = excluded.kind, content = excluded.content, fetched_at = excluded.fetched_at, until = excluded.until
WHERE kept.until < excluded.until;

-- name: forget_revocation_answer
-- Removes what was said of a certificate: it was revoked since.
DELETE FROM revocation_answers WHERE certificate = $1;

-- name: revocation_answer_bytes
-- How long the answer is that still counts, without reading it.
SELECT octet_length(content) FROM revocation_answers WHERE certificate = $1 AND until > now();
