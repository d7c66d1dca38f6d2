/* Plans the incremental update that adds an invisible signature to a PDF (ISO 32000-2 7.5.6, 12.7.5.5, 12.8; ETSI EN
 * 319 142-1), and the section behind it (pdf_section.h).
 *
 * The original is only read, never copied. All offsets in the result are final, so the signed file is
 *     original + head + '<' hex digits '>' + tail, and behind it what pdf_write_section() makes of a planned section
 * Nothing here does I/O. Each call has its own arena and shares no state with other calls. */
#ifndef BATCHSEAL_PDF_PLAN_H
#define BATCHSEAL_PDF_PLAN_H

#include "pdfscan/pdf_section.h"

typedef enum {
    PDF_OK,
    PDF_REFUSE_NOT_PDF,
    PDF_REFUSE_OFFSET_HEADER,
    PDF_REFUSE_ENCRYPTED,
    PDF_REFUSE_CERTIFIED,
    PDF_REFUSE_LOCKED,
    PDF_REFUSE_AMBIGUOUS,
    PDF_REFUSE_BEYOND_END,
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
    PDF_REFUSE_UPDATE,
    PDF_REFUSE_MEMORY_LIMIT,
    PDF_REFUSE_MEMORY,
    PDF_REFUSALS
} pdf_refusal;

/* The code of a refusal for callers, and its message for a person. */
const char *pdf_refusal_code(pdf_refusal refusal);
const char *pdf_refusal_message(pdf_refusal refusal);

typedef struct {
    const uint8_t *utf8; /* NULL if there is no text */
    size_t bytes;
} pdf_text;

/* Beside these limits, there are others in proportion to the original: pdf_memory_bound() for memory, and those in
 * pdf_plan.c for decoded bytes and for work. They hold on every route. */
typedef struct {
    size_t file_bytes;    /* largest size of the original */
    size_t inflate_bytes; /* decoded bytes of all streams together */
    size_t memory_bytes;  /* memory of the arena, which is all but the stack; 0: only the limit in proportion */
    uint32_t objects;     /* objects that one plan may load */
    uint32_t depth;       /* nesting of values */
    uint32_t sections;    /* xref sections */
} pdf_limits;

/* The most memory that the plan of an original of so many bytes takes, and the longest update that it has, with what is
 * planned of a section behind it. The texts of the request do not count, and nor does the material. */
size_t pdf_memory_bound(size_t bytes);
size_t pdf_update_bound(size_t bytes);

typedef struct {
    size_t contents_bytes; /* room for the CMS; its hex digits take twice as many bytes */
    pdf_text reason, location, name;
    pdf_text time; /* a PDF date; becomes /M */
    bool has_section, has_time_stamp; /* whether a section follows, and whether that has a document time stamp */
    pdf_limits limits;
} pdf_plan_request;

typedef enum { PDF_XREF_TABLE, PDF_XREF_STREAM, PDF_XREF_HYBRID } pdf_xref_form;

typedef struct {
    pdf_buffer head, tail; /* their bytes are in the arena */
    uint64_t byte_range[4];
    uint64_t reserved_bytes; /* length of '<', the hex digits and '>' */
    uint32_t field_number;   /* the new field is called Signature<field_number> */
    pdf_xref_form form;      /* form of the newest section in the original */
    bool rebuilt;            /* the original's xref was unusable, so the update lists every object and has no /Prev */
    bool is_restricted;      /* after PDF_REFUSE_ENCRYPTED: `permissions` is known (ISO 32000-2 7.6.4.2, table 22) */
    uint32_t permissions;
    pdf_long_term section;   /* empty unless it was asked for */
} pdf_plan;

pdf_refusal pdf_plan_update(const uint8_t *file, size_t bytes, const pdf_plan_request *request, pdf_arena *arena, pdf_plan *plan);

/* Writes a planned section with this material: certificates, OCSP responses and CRLs. `tail` is that of the update before it.
 * With a time stamp of at most token_bytes, the section is `head`, '<' hex digits '>', `rest`, and its /ByteRange begins with
 * the original; without one, `head` is empty. What a caller has kept of a plan is not trusted: if it cannot be one, the
 * answer is a refusal. */
pdf_refusal pdf_write_section(const pdf_long_term *section, pdf_text tail, const pdf_material_list lists[PDF_MATERIALS], size_t token_bytes, pdf_arena *arena, pdf_buffer *head, pdf_buffer *rest);

#endif
