-- The media type of a document that is neither PDF nor XML. Empty for these: content_type says which of them it is. Programs that
-- do not know the column take such a document for application/xml.
ALTER TABLE documents ADD COLUMN media_type text NOT NULL DEFAULT '';
-- The level that a signature has reached (document.Level). 0: there is none, or it was made by a program that does not know the
-- column.
ALTER TABLE documents ADD COLUMN level smallint NOT NULL DEFAULT 0;
