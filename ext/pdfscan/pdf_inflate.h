/* Decodes zlib data (RFC 1950, RFC 1951) of xref streams and object streams. */
#ifndef BATCHSEAL_PDF_INFLATE_H
#define BATCHSEAL_PDF_INFLATE_H

#include "pdfscan/pdf_arena.h"

typedef enum {
    PDF_INFLATE_DONE,   /* the last block was decoded */
    PDF_INFLATE_CUT,    /* the input ends early or is invalid; what was decoded before is kept, as PDF readers do */
    PDF_INFLATE_LIMIT,  /* the output would be longer than `limit` bytes */
    PDF_INFLATE_MEMORY,
    PDF_INFLATE_WORK,   /* decoding would take more than `*work` */
} pdf_inflate_status;

/* Appends the decoded bytes to `out`. Does not check the checksum at the end, because PDF readers accept a wrong
 * one. `*work` is how much work the call may do, in the unit of pdf_spend(), and becomes what is left of it. */
pdf_inflate_status pdf_inflate_zlib(const uint8_t *in, size_t in_bytes, size_t limit, size_t *work, pdf_buffer *out);

#endif
