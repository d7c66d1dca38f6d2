/* A PDF being read: its xref chain, its objects, the streams that had to be decoded. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_DOCUMENT_H
#define BATCHSEAL_PDF_DOCUMENT_H

#include "pdfscan/pdf_lexer.h"
#include "pdfscan/pdf_plan.h"

enum { PDF_MAX_OBJECT_NUMBER = 8388607 }; /* ISO 32000-2 annex C */

/* Entries first..first+count-1 of a section, as they stand in the file (text, 20 bytes a row) or binary as in a stream. */
typedef struct {
    uint32_t first, count;
    const uint8_t *rows;
    uint8_t width[3]; /* of the three fields; all 0: text rows */
} pdf_subsection;

typedef struct pdf_section {
    bool is_stream;
    uint64_t start;   /* where it begins, counted from the header as all offsets in a PDF */
    pdf_span trailer; /* a dictionary */
    pdf_subsection *subsections;
    uint32_t count;
    struct pdf_section *hidden; /* /XRefStm of a hybrid file (7.5.8.4) */
} pdf_section;

typedef struct {
    enum { PDF_ENTRY_FREE, PDF_ENTRY_PLAIN, PDF_ENTRY_COMPRESSED, PDF_ENTRY_MISSING, PDF_ENTRY_BROKEN } type;
    uint64_t location;   /* offset, or the object stream's number */
    uint32_t generation; /* or the index within the object stream */
} pdf_entry;

typedef struct pdf_objstm {
    struct pdf_objstm *next;
    uint32_t num, count;
    pdf_span data;
    uint32_t *pairs; /* object number, offset in data */
} pdf_objstm;

typedef struct {
    uint32_t num, gen;
    pdf_span value;
    bool compressed; /* lies in an object stream */
} pdf_object;

typedef struct {
    pdf_span file; /* from the header on: offset 0 of a PDF is its %PDF */
    pdf_arena *arena;
    const pdf_limits *limits;
    pdf_section *sections; /* newest first */
    uint32_t section_count;
    pdf_span trailer; /* of the newest section, or of the repair */
    uint64_t size;    /* one more than the highest object number in use */
    bool rebuilt;    /* pdf_rebuild_xref made the section */
    bool in_objstm;  /* an object stream is being read */
    size_t inflated, work;
    uint32_t visited;
    pdf_objstm *objstms;
} pdf_document;

/* Follows startxref and /Prev. PDF_REFUSE_BROKEN_XREF: a repair may still help. */
pdf_refusal pdf_read_xref(pdf_document *doc);

/* Builds one section from the objects found by scanning the whole file. */
pdf_refusal pdf_rebuild_xref(pdf_document *doc);

pdf_entry pdf_lookup(pdf_document *doc, uint32_t num);
bool pdf_trailer_get(const pdf_document *doc, const char *key, pdf_span *value);

/* A missing object is null, as the standard says; an entry that points at something else is PDF_REFUSE_BROKEN_XREF. */
pdf_refusal pdf_load(pdf_document *doc, uint32_t num, uint32_t gen, pdf_object *object);

/* Follows a reference (and a reference to a reference); num 0 in `object` tells that the value was direct. */
pdf_refusal pdf_resolve(pdf_document *doc, pdf_span value, pdf_object *object);
pdf_refusal pdf_get_resolved(pdf_document *doc, pdf_span dict, const char *key, pdf_object *object);

/* The raw bytes of a stream whose dictionary is `dict`; false: no stream follows. */
bool pdf_stream_bytes(pdf_document *doc, pdf_span dict, const uint8_t *end, pdf_span *raw);
pdf_refusal pdf_decode_stream(pdf_document *doc, pdf_span dict, pdf_span raw, pdf_span *data);

/* The object stream `num`, decoded and its header read. */
pdf_refusal pdf_load_objstm(pdf_document *doc, uint32_t num, pdf_objstm **stream);
pdf_refusal pdf_parse_objstm(pdf_document *doc, pdf_span dict, pdf_span raw, pdf_objstm *stream);

/* One value at `at`, counted against the limits. */
pdf_refusal pdf_read_value(pdf_document *doc, const uint8_t *at, const uint8_t *end, pdf_span *value);

/* What the planner must know of the document's structure. */
typedef struct {
    pdf_object catalog, page, annots, form, fields;
    uint32_t field_number;
    bool has_signatures;
} pdf_structure;

pdf_refusal pdf_read_structure(pdf_document *doc, pdf_structure *structure);

#endif
