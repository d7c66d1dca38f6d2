/* Writes text strings (ISO 32000-2 7.9.2.2). */
#ifndef BATCHSEAL_PDF_TEXT_H
#define BATCHSEAL_PDF_TEXT_H

#include "pdfscan/pdf_plan.h"

/* Writes "(...)" in PDFDocEncoding, with escapes for everything beyond ASCII. If the text has characters that are not
 * in PDFDocEncoding, writes "<FEFF...>" in UTF-16BE. */
void pdf_put_text(pdf_buffer *out, pdf_text text);

/* Writes the bytes that pdf_put_text() writes as a string. */
void pdf_put_text_bytes(pdf_buffer *out, pdf_text text);

#endif
