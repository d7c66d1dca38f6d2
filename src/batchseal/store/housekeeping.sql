-- name: unfinished_documents
SELECT coalesce(sum(documents_total - documents_signed - documents_failed), 0)::bigint
FROM operations WHERE instance = $1 AND status IN (1, 3);
