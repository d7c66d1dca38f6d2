/* How the document is encrypted. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_ENCRYPTION_H
#define BATCHSEAL_PDF_ENCRYPTION_H

#include "pdfscan/pdf_document.h"

/* Reads the encryption dictionary, the value of /Encrypt in a trailer with this /ID. Answers PDF_REFUSE_ENCRYPTED if the document
 * is encrypted and its file key is not known; with the key, whether its permissions allow it to be signed (7.6.4.2). */
pdf_refusal pdf_check_encryption(pdf_document *doc, pdf_span entry, pdf_encryption *found);

#endif
