/* The field names that a new field must not have. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_FIELD_NAMES_H
#define BATCHSEAL_PDF_FIELD_NAMES_H

#include "pdfscan/pdf_document.h"

/* Field names that are taken: "Signature" and a number. */
enum { PDF_TRACKED_NAMES = 1024 };
typedef struct {
    uint64_t used[PDF_TRACKED_NAMES / 64]; /* bit n is set if a field is called Signature<n> */
    uint32_t highest;
} pdf_field_names;

/* Remembers a field name that the new field must not have. The name is a string in the object `holder`. */
void pdf_note_name(pdf_document *doc, pdf_field_names *names, const pdf_object *holder, pdf_span value);
uint32_t pdf_free_name(const pdf_field_names *names);
uint32_t pdf_free_name_after(const pdf_field_names *names, uint32_t number);

#endif
