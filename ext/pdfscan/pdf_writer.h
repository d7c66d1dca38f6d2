/* The state of an update that is being written, shared by the files that write objects and the one that writes the xref
 * section (pdf_xref_write.c). Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_WRITER_H
#define BATCHSEAL_PDF_WRITER_H

#include "pdfscan/pdf_structure.h"

typedef struct {
    uint32_t num, gen;
    uint64_t offset;
} pdf_written;

enum { PDF_MAX_WRITTEN = 12 + PDF_MOST_DRAWN }; /* of a section, without the material */

typedef struct {
    pdf_document *doc;
    const pdf_structure *structure;
    pdf_buffer *out;      /* the head first, then the tail */
    pdf_plan *plan;
    uint64_t out_offset;  /* offset in the signed file of out's first byte */
    uint64_t next_number; /* the next free object number */
    pdf_written *written; /* has room for all objects and the xref section */
    unsigned written_count;
} pdf_writer;

/* The offset in the signed file of the next byte that is written. */
static inline uint64_t pdf_position(const pdf_writer *writer) { return writer->out_offset + writer->out->length; }

/* Begins an indirect object: notes its place for the xref section, and writes "num gen obj". */
void pdf_begin_object(pdf_writer *writer, uint32_t num, uint32_t gen);
void pdf_end_object(pdf_writer *writer);

/* Writes a text string, or a stream with `entries` in its dictionary beside /Length, as a part of the object that was begun
 * last, and encrypt them if the document is encrypted. Everything that is new in an update and is a string or a stream goes
 * through these two. What is copied from an object of the original must have been taken by pdf_take() (pdf_crypt.h). */
void pdf_put_text_string(pdf_writer *writer, pdf_text text);
void pdf_put_stream(pdf_writer *writer, const char *entries, const void *bytes, size_t length);

/* The same for a stream of an appearance. Data that is shared is left out, and noted in the plan; the offsets count it. */
void pdf_put_drawn_stream(pdf_writer *writer, const char *entries, unsigned index, const pdf_drawn_object *object);

/* Writes blanks for a /ByteRange, and returns their offset in `out`. */
size_t pdf_put_range_blanks(pdf_buffer *out);

/* Writes "[a b c d]" into these blanks. */
pdf_refusal pdf_fill_range(pdf_buffer *out, uint64_t blanks, const uint64_t range[4]);

/* The keys of a DSS dictionary under which its materials stand. */
extern const char *const PDF_MATERIAL_KEYS[PDF_MATERIALS];

/* Writes the xref section that lists the written objects, in the form of the source's newest section, and the
 * trailer. */
pdf_refusal pdf_write_xref(pdf_writer *writer, const pdf_plan_request *request);

/* Plans the section behind an update that is written as a whole, into plan->section. `stamp_appearance` is an empty one in the
 * update, for the field of a document time stamp; 0: there is no time stamp. */
pdf_refusal pdf_plan_section(const pdf_writer *update, const pdf_plan_request *request, uint32_t stamp_appearance, pdf_plan *plan);
size_t pdf_section_bytes(const pdf_long_term *section);

#endif
