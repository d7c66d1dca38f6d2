/* Writes the planned update. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_UPDATE_H
#define BATCHSEAL_PDF_UPDATE_H

#include "pdfscan/pdf_document.h"

/* Ten digits hold every offset of a table row (7.5.4). */
#define PDF_MAX_FILE_BYTES ((size_t)9000000000)

typedef struct {
    uint32_t num, gen;
    uint64_t offset;
} pdf_written;

enum { PDF_MAX_WRITTEN = 8 };

typedef struct {
    pdf_document *doc;
    const pdf_structure *structure;
    pdf_buffer *out;      /* head or tail, whichever is being written */
    uint64_t out_offset;  /* of out's first byte */
    uint64_t next_number;
    pdf_written written[PDF_MAX_WRITTEN];
    unsigned written_count;
} pdf_writer;

pdf_refusal pdf_write_update(pdf_document *doc, const pdf_structure *structure, const pdf_plan_request *request, pdf_plan *plan);

/* The xref section over what was written, in the form of the source's newest one, and the trailer. */
pdf_refusal pdf_write_xref(pdf_writer *writer, const pdf_plan_request *request);

/* Where the next byte will stand, as offsets in a PDF count. */
uint64_t pdf_position(const pdf_writer *writer);
void pdf_put_ref(pdf_buffer *out, uint64_t num, uint64_t gen);

#endif
