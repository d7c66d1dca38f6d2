-- What a responder or a list last said of each certificate: that it was not revoked. It is asked for once for all instances, and
-- again when half of its time is over. It belongs to no client service, and whoever reads it verifies it anew.
CREATE TABLE revocation_answers (
    certificate bytea       PRIMARY KEY,   -- SHA-256 of the certificate (DER)
    kind        smallint    NOT NULL,      -- upstream/revocation.py: 1 OCSP response, 2 list of revoked certificates
    content     bytea       NOT NULL,      -- DER
    fetched_at  timestamptz NOT NULL,
    until       timestamptz NOT NULL       -- after this it does not count any more
);

ALTER TABLE revocation_answers ALTER COLUMN content SET STORAGE EXTERNAL;
