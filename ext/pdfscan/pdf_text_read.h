/* Reads text strings (ISO 32000-2 7.9.2.2), and compares full names of fields (12.7.4.2). Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_TEXT_READ_H
#define BATCHSEAL_PDF_TEXT_READ_H

#include "pdfscan/pdf_document.h"

/* Appends the text of a string that stands in the object `holder`, in UTF-8, whichever of its three encodings it has: two
 * strings with the same text give the same bytes. `scratch` is overwritten. Returns false over the limit of work, or if memory
 * runs out. */
bool pdf_append_text(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *scratch, pdf_buffer *out);

/* Whether a full name of a field is `other`, or that of a field below it. */
bool pdf_is_name_or_below(pdf_text name, pdf_text other);

#endif
