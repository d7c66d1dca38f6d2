-- After a time, or when an operator asks for it, the texts of an operation are removed: its description, and what is stored of its
-- documents in words. Its reference, id, counts and dates stay.
ALTER TABLE operations ADD COLUMN texts_removed boolean NOT NULL DEFAULT false;

-- This index holds the operations whose texts are still there and can be removed.
CREATE INDEX operations_with_texts ON operations (finished_at) WHERE payload_purged AND NOT texts_removed;
