/* Text strings (ISO 32000-2 7.9.2.2). */
#ifndef BATCHSEAL_PDF_TEXT_H
#define BATCHSEAL_PDF_TEXT_H

#include "pdfscan/pdf_plan.h"

/* "(...)" in PDFDocEncoding with everything beyond ASCII escaped, or "<FEFF...>" in UTF-16BE where that cannot say it. */
void pdf_put_text(pdf_buffer *out, pdf_text text);

#endif
