/* Plans the incremental update that adds an invisible signature to a PDF (ISO 32000-2 7.5.6, 12.7.5.5, 12.8; ETSI EN 319 142-1).
 *
 * The original is read where it lies and never copied; every offset of the result is final when it is returned, so that
 *     original + head + '<' hex digits '>' + tail
 * is the signed file. Nothing here does I/O. Calls are independent: one arena a call, no shared state. */
#ifndef BATCHSEAL_PDF_PLAN_H
#define BATCHSEAL_PDF_PLAN_H

#include "pdfscan/pdf_arena.h"

typedef enum {
    PDF_OK,
    PDF_REFUSE_NOT_PDF,
    PDF_REFUSE_OFFSET_HEADER,
    PDF_REFUSE_ENCRYPTED,
    PDF_REFUSE_CERTIFIED,
    PDF_REFUSE_LOCKED,
    PDF_REFUSE_BROKEN_XREF,
    PDF_REFUSE_XREF_LOOP,
    PDF_REFUSE_NO_CATALOG,
    PDF_REFUSE_NO_PAGES,
    PDF_REFUSE_BROKEN_OBJECT,
    PDF_REFUSE_REPAIR_WOULD_BREAK_SIGNATURES,
    PDF_REFUSE_FILTER,
    PDF_REFUSE_DEPTH,
    PDF_REFUSE_OBJECTS,
    PDF_REFUSE_INFLATE,
    PDF_REFUSE_SIZE,
    PDF_REFUSE_SECTIONS,
    PDF_REFUSE_MEMORY,
    PDF_REFUSALS
} pdf_refusal;

/* The name by which callers know a refusal, and what a person is told. */
const char *pdf_refusal_code(pdf_refusal refusal);
const char *pdf_refusal_message(pdf_refusal refusal);

typedef struct {
    const uint8_t *utf8; /* NULL: absent */
    size_t bytes;
} pdf_text;

typedef struct {
    size_t file_bytes;    /* largest original */
    size_t inflate_bytes; /* of all streams that are read, together */
    uint32_t objects;     /* loaded during one plan */
    uint32_t depth;       /* nesting of values, and of the page and field trees */
    uint32_t sections;    /* xref sections */
} pdf_limits;

typedef struct {
    size_t contents_bytes; /* room for the CMS; the hex digits take twice that */
    pdf_text reason, location, name;
    pdf_text time; /* a PDF date, becomes /M */
    pdf_limits limits;
} pdf_plan_request;

typedef enum { PDF_XREF_TABLE, PDF_XREF_STREAM, PDF_XREF_HYBRID } pdf_xref_form;

typedef struct {
    pdf_buffer head, tail; /* live in the arena */
    uint64_t byte_range[4];
    uint64_t reserved_bytes; /* '<', hex digits, '>' */
    uint32_t field_number;   /* the field is called Signature<field_number> */
    pdf_xref_form form;      /* of the source's newest section */
    bool rebuilt;            /* the source's xref was unusable: the update lists every object and has no /Prev */
} pdf_plan;

pdf_refusal pdf_plan_update(const uint8_t *file, size_t bytes, const pdf_plan_request *request, pdf_arena *arena, pdf_plan *plan);

#endif
