-- What the payload of an operation takes in its store, so that the temporary space can be shared among the client services. Rows
-- of an earlier release have 0: the space of their payloads counts in all, and for no client service.
ALTER TABLE operations ADD COLUMN stored_bytes bigint NOT NULL DEFAULT 0;
