/* The section behind the signature: a second incremental update with validation material (the DSS dictionary, ISO 32000-2
 * 12.8.4.3; ETSI EN 319 142-1 5.4.2) and, if wanted, a document time stamp (5.4.3; ISO 32000-2 12.8.5).
 *
 * It stands behind the update that holds the signature, and never in it: validators give a signature only the material of
 * a later revision. All of it but the material follows from lengths that are known before anybody has signed, so it is
 * planned with the update. The material comes later, and is written then.
 *
 *     objects that are planned [the time stamp's dictionary '<' hex digits '>'] DSS dictionary, streams, xref section */
#ifndef BATCHSEAL_PDF_SECTION_H
#define BATCHSEAL_PDF_SECTION_H

#include "pdfscan/pdf_arena.h"

enum { PDF_CERTIFICATES, PDF_OCSP_RESPONSES, PDF_CRLS, PDF_MATERIALS };

/* The most streams that one section may have, and the bytes of a row: 4, 4 and 8. */
enum { PDF_MAX_STREAMS = 1000, PDF_SECTION_ROW_BYTES = 16 };

/* What is known of a section before its material. A planned one is in the arena of the plan. */
typedef struct {
    pdf_buffer objects; /* whole objects, then the dictionary of the time stamp as far as its /Contents, if there is one */
    pdf_buffer rows;    /* of these objects, PDF_SECTION_ROW_BYTES each: number, generation, offset; big-endian */
    pdf_buffer lists[PDF_MATERIALS]; /* references that arrays of an existing DSS dictionary hold */
    pdf_buffer others;               /* its other entries */
    uint32_t dss, dss_generation;    /* the object that becomes the DSS dictionary */
    uint64_t next_number;            /* the next free object number */
    uint64_t start;                  /* offset of the section: the length of the signed file before it */
    uint64_t previous;               /* offset of the xref section of the signature's update */
    uint64_t trailer;                /* offset of its trailer dictionary, counted from the tail of that update */
    uint64_t range;                  /* offset in `objects` of the blanks for /ByteRange */
    pdf_buffer cipher;               /* how to encrypt, with the key; empty where the document is not encrypted. See pdf_crypt.h */
    bool is_stream;                  /* the form of the xref section */
    bool has_time_stamp;
} pdf_long_term;

/* A stream of the DSS dictionary. */
typedef struct {
    const uint8_t *bytes;
    size_t length;
    bool is_deflated;
} pdf_material;

typedef struct {
    const pdf_material *materials;
    size_t count;
} pdf_material_list;

#endif
