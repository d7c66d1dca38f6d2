/* Plans the incremental update that adds an invisible signature to a PDF (ISO 32000-2 7.5.6, 12.7.5.5, 12.8; ETSI EN
 * 319 142-1).
 *
 * The original is only read, never copied. All offsets in the result are final, so the signed file is
 *     original + head + '<' hex digits '>' + tail
 * Nothing here does I/O. Each call has its own arena and shares no state with other calls. */
#ifndef BATCHSEAL_PDF_PLAN_H
#define BATCHSEAL_PDF_PLAN_H

#include "pdfscan/pdf_arena.h"

typedef enum {
    PDF_OK,
    PDF_REFUSE_NOT_PDF,
    PDF_REFUSE_OFFSET_HEADER,
    PDF_REFUSE_ENCRYPTED,
    PDF_REFUSE_PASSWORD,
    PDF_REFUSE_FORBIDDEN,
    PDF_REFUSE_PUBLIC_KEY,
    PDF_REFUSE_CRYPT_METHOD,
    PDF_REFUSE_BROKEN_ENCRYPTION,
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

/* The most memory that the plan of an original of so many bytes takes, and the longest update that it has. The update's
 * length does not count the texts of the request. */
size_t pdf_memory_bound(size_t bytes);
size_t pdf_update_bound(size_t bytes);

/* How strings or streams are encrypted (ISO 32000-2 7.6.6, table 25): RC4, /AESV2, /AESV3. */
typedef enum { PDF_NOT_ENCRYPTED, PDF_RC4, PDF_AES_128, PDF_AES_256 } pdf_method;

enum { PDF_MOST_KEY_BYTES = 32, PDF_SEED_BYTES = 16 };

/* What an encrypted document says of its encryption by the standard security handler (7.6.4, tables 20 and 21), enough to derive
 * its file key. The bytes are in the arena; entries that are absent are empty. */
typedef struct {
    int64_t version, revision, key_bits; /* /V, /R, /Length */
    uint32_t permissions;                /* /P */
    bool encrypts_metadata;
    pdf_method strings, streams;
    pdf_buffer owner, user, owner_key, user_key, confirmed_permissions; /* /O, /U, /OE, /UE, /Perms */
    pdf_buffer file_id;                                                 /* the first element of /ID */
} pdf_encryption;

/* The file key of a document that a first plan called encrypted, and the methods that it named. */
typedef struct {
    uint8_t key[PDF_MOST_KEY_BYTES];
    size_t key_bytes;
    pdf_method strings, streams;
    uint8_t seed[PDF_SEED_BYTES]; /* random; all initialization vectors follow from it */
} pdf_unlock;

typedef struct {
    size_t contents_bytes; /* room for the CMS; its hex digits take twice as many bytes */
    pdf_text reason, location, name;
    pdf_text time; /* a PDF date; becomes /M */
    pdf_limits limits;
    const pdf_unlock *unlock; /* NULL without a file key */
} pdf_plan_request;

typedef enum { PDF_XREF_TABLE, PDF_XREF_STREAM, PDF_XREF_HYBRID } pdf_xref_form;

typedef struct {
    pdf_buffer head, tail; /* their bytes are in the arena */
    uint64_t byte_range[4];
    uint64_t reserved_bytes; /* length of '<', the hex digits and '>' */
    uint32_t field_number;   /* the new field is called Signature<field_number> */
    pdf_xref_form form;      /* form of the newest section in the original */
    bool rebuilt;            /* the original's xref was unusable, so the update lists every object and has no /Prev */
    pdf_encryption encryption; /* after PDF_REFUSE_ENCRYPTED and PDF_REFUSE_FORBIDDEN */
} pdf_plan;

pdf_refusal pdf_plan_update(const uint8_t *file, size_t bytes, const pdf_plan_request *request, pdf_arena *arena, pdf_plan *plan);

#endif
