-- name: time_stamp_sizes
-- What is known of these authorities.
SELECT authority, token_bytes FROM time_stamp_sizes WHERE authority = ANY ($1::text[]);

-- name: claim_time_stamp_trial
-- Notes that a token is asked for only to learn its length. Returns an authority unless all of them were noted before: then
-- somebody else has asked, or is about to.
INSERT INTO time_stamp_sizes (authority) SELECT unnest($1::text[])
ON CONFLICT DO NOTHING
RETURNING authority;

-- name: note_time_stamp_sizes
-- Stores the lengths of tokens. A length that is known already never shrinks.
INSERT INTO time_stamp_sizes AS s (authority, token_bytes) SELECT * FROM unnest($1::text[], $2::integer[])
ON CONFLICT (authority) DO UPDATE SET token_bytes = excluded.token_bytes, noted_at = now()
WHERE s.token_bytes < excluded.token_bytes;
