/* RFC 1950 and RFC 1951 decoding for xref and object streams. */
#ifndef BATCHSEAL_PDF_INFLATE_H
#define BATCHSEAL_PDF_INFLATE_H

#include "pdfscan/pdf_arena.h"

typedef enum {
    PDF_INFLATE_DONE,   /* the last block ended */
    PDF_INFLATE_CUT,    /* input ended or turned invalid; what came before it was kept, as readers do */
    PDF_INFLATE_LIMIT,  /* more than `limit` bytes would come out */
    PDF_INFLATE_MEMORY,
} pdf_inflate_status;

/* Appends to `out`. The checksum at the end is not compared: readers tolerate a wrong one. */
pdf_inflate_status pdf_inflate_zlib(const uint8_t *in, size_t in_bytes, size_t limit, pdf_buffer *out);

#endif
