/* Reads string objects (ISO 32000-2 7.3.4, 7.9.2). Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_STRING_H
#define BATCHSEAL_PDF_STRING_H

#include "pdfscan/pdf_document.h"

/* Decodes a string object, at most `room` bytes of it. Returns the number of bytes; 0 if the value is no string. */
size_t pdf_string_bytes(pdf_span value, uint8_t *out, size_t room);

/* Appends the bytes of a string object, and counts them as work. Returns false over the limit of work, or if memory runs
 * out. */
bool pdf_append_string(pdf_document *doc, pdf_span value, pdf_buffer *out);

/* The same for a text string, in UTF-8, whichever of its three encodings it has (7.9.2.2): two strings with the same text
 * give the same bytes. `scratch` is overwritten. */
bool pdf_append_text(pdf_document *doc, pdf_span value, pdf_buffer *scratch, pdf_buffer *out);

/* Whether a full name of a field is `other`, or that of a field below it (12.7.4.2). */
bool pdf_is_name_or_below(pdf_text name, pdf_text other);

#endif
