/* Copies a value without what stands in its dictionaries where a key must be. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_MEND_H
#define BATCHSEAL_PDF_MEND_H

#include "pdfscan/pdf_arena.h"
#include "pdfscan/pdf_lexer.h"

/* Writes the value without numbers, words and strings that stand where a name must be, as in "/X 1 0 R 0 R /Y 2". All readers
 * that open such a file skip them, and go on with the next name. What else may be wrong with the value stays. */
void pdf_put_mended(pdf_buffer *out, pdf_span value);

#endif
