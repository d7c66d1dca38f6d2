/* The parts of a document that a signature changes or must respect. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_STRUCTURE_H
#define BATCHSEAL_PDF_STRUCTURE_H

#include "pdfscan/pdf_document.h"

/* Field names that are taken: "Signature" and a number. */
enum { PDF_TRACKED_NAMES = 1024 };
typedef struct {
    uint64_t used[PDF_TRACKED_NAMES / 64]; /* bit n is set if a field is called Signature<n> */
    uint32_t highest;
} pdf_field_names;

/* Remembers a field name that the new field must not have. */
void pdf_note_name(pdf_field_names *names, pdf_span value);
uint32_t pdf_free_name(const pdf_field_names *names);
uint32_t pdf_free_name_after(const pdf_field_names *names, uint32_t number);

/* Whether an existing signature permits a further one (12.8.2.2, 12.8.2.4), and whether it can stay valid at all. Notes
 * the names of fields that it locks. */
pdf_refusal pdf_check_signature(pdf_document *doc, pdf_span signature, pdf_field_names *names);

/* Resolves an entry that decides whether the document may be signed. If the key stands twice with different values,
 * readers disagree on it, and the answer is PDF_REFUSE_AMBIGUOUS. */
pdf_refusal pdf_get_decisive(pdf_document *doc, pdf_span dict, const char *key, pdf_object *object);

/* What walking the fields of a form found. */
typedef struct {
    pdf_field_names names;
    bool has_signatures;
} pdf_fields;

/* Visits all fields, and checks all signatures among them. */
pdf_refusal pdf_walk_fields(pdf_document *doc, pdf_span fields, pdf_fields *found);

/* What the update needs to know about the document. */
typedef struct {
    pdf_object catalog, page, annots, form, fields;
    uint32_t field_number; /* the new field can be called Signature<field_number> */
    uint32_t stamp_number; /* and that of a document time stamp Signature<stamp_number> */
    bool has_signatures;
    bool wants_tabs;       /* the page must say that its annotations follow the structure (PDF/UA) */
    bool annots_differ, form_differs, fields_differ, flags_differ; /* the key stands twice with values that differ */
    bool is_restricted;    /* the document is encrypted by a standard security handler with these permissions */
    uint32_t permissions;  /* /P of the encryption dictionary (7.6.4.2, table 22) */
} pdf_structure;

pdf_refusal pdf_read_structure(pdf_document *doc, pdf_structure *structure);

#endif
