/* What a document demands of everything that is drawn on its pages. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_RULES_H
#define BATCHSEAL_PDF_RULES_H

#include "pdfscan/pdf_document.h"

/* Finds the rules, as bits of pdf_rules, from the metadata and the output intents of the catalog. */
pdf_refusal pdf_read_rules(pdf_document *doc, pdf_span catalog, unsigned *rules);

#endif
