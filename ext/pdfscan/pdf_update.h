/* Writes the planned update. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_UPDATE_H
#define BATCHSEAL_PDF_UPDATE_H

#include "pdfscan/pdf_structure.h"

/* A table row has ten digits for an offset (7.5.4). */
#define PDF_MAX_FILE_BYTES ((size_t)9000000000)

pdf_refusal pdf_write_update(pdf_document *doc, const pdf_structure *structure, const pdf_plan_request *request, pdf_plan *plan);

#endif
