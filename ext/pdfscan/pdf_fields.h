/* The fields of the form, and the signatures among them. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_FIELDS_H
#define BATCHSEAL_PDF_FIELDS_H

#include "pdfscan/pdf_field_names.h"

/* What walking the fields of a form found. */
typedef struct {
    pdf_field_names names;
    bool has_signatures;
} pdf_fields;

/* Visits all fields, and checks all signatures among them. `holder` is the object in which the array of fields stands. */
pdf_refusal pdf_walk_fields(pdf_document *doc, const pdf_object *holder, pdf_span fields, pdf_fields *found);

#endif
