/* What existing signatures permit. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_PERMISSION_H
#define BATCHSEAL_PDF_PERMISSION_H

#include "pdfscan/pdf_field_names.h"

/* Whether an existing signature permits a further one (12.8.2.2, 12.8.2.4), and whether it can stay valid at all. Notes
 * the names of fields that it locks. `holder` is the object in which the signature stands. */
pdf_refusal pdf_check_signature(pdf_document *doc, const pdf_object *holder, pdf_span signature, pdf_field_names *names);

#endif
