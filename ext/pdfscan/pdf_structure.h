/* The parts of a document that a signature changes or must respect. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_STRUCTURE_H
#define BATCHSEAL_PDF_STRUCTURE_H

#include "pdfscan/pdf_pages.h"

/* A field that is there, has no value yet, and is to be signed. */
typedef struct {
    pdf_object field;  /* its dictionary; num is 0 where the signature gets a new field */
    pdf_object widget; /* the field's own dictionary, or its first kid; num is 0 where nothing is shown anywhere */
    bool is_visible;   /* the rectangle of the widget has an area */
    double width, height; /* of the widget as it is shown, in points */
    unsigned rotation; /* of its page */
    bool has_appearance, appearances_differ; /* /AP is there; it stands twice with values that differ */
    enum { PDF_LOCK_NONE, PDF_LOCK_ALL, PDF_LOCK_INCLUDE, PDF_LOCK_EXCLUDE } lock; /* /Lock (12.7.5.5, table 236) */
    uint32_t lock_level;      /* its /P, the changes that stay permitted: 1 to 3; 0 if it says nothing */
    const pdf_text *locked;   /* the names of fields that it includes or excludes */
    size_t locked_count;
} pdf_existing_field;

/* Where a visible signature stands: its rectangle in user space, the matrix of its form, and the page as it is shown. */
typedef struct {
    double rectangle[4], matrix[6];
    double page_width, page_height;
} pdf_place;

/* What the update needs to know about the document. */
typedef struct {
    pdf_existing_field existing;
    pdf_object catalog, page, annots, form, fields;
    uint32_t field_number; /* the new field can be called Signature<field_number> */
    uint32_t stamp_number; /* and that of a document time stamp Signature<stamp_number> */
    bool has_signatures;
    bool wants_tabs;       /* the page must say that its annotations follow the structure (PDF/UA) */
    bool annots_differ, form_differs, fields_differ, flags_differ; /* the key stands twice with values that differ */
    pdf_encryption encryption; /* if the document is encrypted by the standard security handler */
    uint32_t pages;        /* how many pages were seen on the way to the one with the signature */
    unsigned rules;        /* bits of pdf_rules, for a visible signature */
    pdf_view view;         /* of the page, for a visible signature */
    pdf_place place;
    bool draws;            /* the appearance of the request is drawn */
} pdf_structure;

/* `appearance` is NULL for an invisible signature, which stands on the first page. */
pdf_refusal pdf_read_structure(pdf_document *doc, const pdf_appearance *appearance, pdf_structure *structure);

#endif
