/* The field that is to be signed, where the caller names one. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_EXISTING_FIELD_H
#define BATCHSEAL_PDF_EXISTING_FIELD_H

#include "pdfscan/pdf_structure.h"

/* Finds the signature field whose full name is doc->field, and reads its widget and its lock into structure->existing. Where
 * it cannot be signed, `plan` names those that can. Its seed values are copied into the plan. */
pdf_refusal pdf_find_field(pdf_document *doc, pdf_structure *structure, pdf_plan *plan);

/* Appends what a value, which stands in the object `holder`, and all that it refers to says, in a form without references. `out` grows to MAX_SEED_BYTES at most
 * (pdf_seed_values.c); more is PDF_REFUSE_OBJECTS, and so is what is nested deeper than seed values are. */
pdf_refusal pdf_flatten(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out);

#endif
