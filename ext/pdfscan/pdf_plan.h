/* Plans the incremental update that adds a signature, visible or not, to a PDF, in a new field or in an existing one (ISO
 * 32000-2 7.5.6, 12.7.5.5, 12.8; ETSI EN 319 142-1), and the section behind it (pdf_section.h).
 *
 * The original is only read, never copied. All offsets in the result are final, so the signed file is
 *     original + head + '<' hex digits '>' + tail, and behind it what pdf_write_section() makes of a planned section
 * Nothing here does I/O. Each call has its own arena and shares no state with other calls. */
#ifndef BATCHSEAL_PDF_PLAN_H
#define BATCHSEAL_PDF_PLAN_H

#include "pdfscan/pdf_lexer.h"
#include "pdfscan/pdf_section.h"

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
    PDF_REFUSE_FIELD_MISSING,
    PDF_REFUSE_FIELD_SIGNED,
    PDF_REFUSE_FIELD_TYPE,
    PDF_REFUSE_FIELD_TWICE,
    PDF_REFUSE_FIELD_LOCK,
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
    PDF_REFUSE_NO_SUCH_PAGE,
    PDF_REFUSE_OUTSIDE_PAGE,
    PDF_REFUSE_OTHER_RULES,
    PDF_REFUSE_OTHER_AREA,
    PDF_REFUSE_UNSHARED,
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
 * planned of a section behind it. The texts and the appearance of the request do not count: these add at most four times their
 * bytes, and what is shared of the appearance nothing; where streams are encrypted, nothing is shared, and it adds its bytes to
 * the update and four times these to the memory. Nor does the material count. */
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

/* What a document demands of what is drawn on it: no device colours, no transparency, a /CIDSet in font descriptors. */
enum { PDF_RULE_CALIBRATED = 1, PDF_RULE_OPAQUE = 2, PDF_RULE_CID_SET = 4 };

/* An object of an appearance: the entries of its dictionary, and perhaps a stream with data that is encoded already. Where it
 * is shared, its data is no part of the plan: whoever puts the signed file together has it. Where streams are encrypted, nothing
 * is shared, since each document has a key of its own: what would be has at most PDF_MOST_UNSHARED_BYTES there. */
typedef struct {
    pdf_span entries, stream;
    bool has_stream, is_shared;
} pdf_drawn_object;

enum { PDF_OBJECT_MARK = 1, PDF_TEXT_MARK = 2, PDF_MOST_DRAWN = 12, PDF_MOST_DRAWN_BYTES = 32 << 10, PDF_MOST_UNSHARED_BYTES = 256 << 10 };

/* The appearance of a visible signature, and where it stands. Lengths are in points of 1/72 inch. The first object is the form,
 * whose box begins at 0 0 and has this width and height. */
typedef struct {
    const pdf_drawn_object *objects;
    unsigned count, rules; /* the rules that the objects keep */
    uint32_t page;         /* counted from 1 */
    double x, y;           /* the area's lower left corner, from that of the page as it is shown */
    bool is_upper_left;    /* x and y are in user space instead, and are the area's upper left corner as the page is shown */
    double width, height;
    bool yields;           /* an existing field that has an appearance keeps it */
} pdf_appearance;

typedef struct {
    size_t contents_bytes; /* room for the CMS; its hex digits take twice as many bytes */
    pdf_text reason, location, name;
    pdf_text time; /* a PDF date; becomes /M */
    bool has_section, has_time_stamp; /* whether a section follows, and whether that has a document time stamp */
    pdf_text field; /* the full name of an existing field to sign (12.7.4.2); utf8 is NULL for a new one */
    const char *digest_method; /* of locks that the field demands, as a name in PDF: "SHA256" */
    pdf_limits limits;
    const pdf_unlock *unlock;         /* NULL without a file key */
    const pdf_appearance *appearance; /* NULL: the signature is invisible */
} pdf_plan_request;

typedef enum { PDF_XREF_TABLE, PDF_XREF_STREAM, PDF_XREF_HYBRID } pdf_xref_form;

/* Data that is shared: it belongs into the tail, in front of the byte with this offset. */
typedef struct {
    size_t offset;
    unsigned object; /* of the appearance */
} pdf_insertion;

typedef struct {
    size_t skipped_bytes; /* what stands before the %PDF header: it is no part of the signed file, and nothing counts it */
    pdf_buffer head, tail; /* their bytes are in the arena */
    pdf_insertion inserted[PDF_MOST_DRAWN]; /* by offset */
    unsigned inserted_count;
    size_t inserted_bytes;
    uint64_t byte_range[4];
    uint64_t reserved_bytes; /* length of '<', the hex digits and '>' */
    uint32_t field_number;   /* the new field is called Signature<field_number> */
    pdf_xref_form form;      /* form of the newest section in the original */
    bool rebuilt;            /* the original's xref was unusable, so the update lists every object and has no /Prev */
    pdf_encryption encryption; /* after PDF_REFUSE_ENCRYPTED and PDF_REFUSE_FORBIDDEN */
    pdf_long_term section;   /* empty unless it was asked for */
    pdf_buffer seed_values;  /* what the existing field demands of its signature, and /P of its lock or 0; see pdf_seed_values.c */
    pdf_buffer open_fields;  /* after a refusal of the field: names of signature fields that can be signed, each with a 0 behind it */
    uint32_t open_count;     /* how many there are; only the first of them are named */
    uint32_t pages;                 /* after PDF_REFUSE_NO_SUCH_PAGE: how many there are */
    double page_width, page_height; /* after PDF_REFUSE_OUTSIDE_PAGE: the page as it is shown, in points */
    double area_width, area_height; /* after PDF_REFUSE_OTHER_AREA: the field as it is shown, in points */
    unsigned rules;                 /* after PDF_REFUSE_OTHER_RULES: those of the document */
} pdf_plan;

pdf_refusal pdf_plan_update(const uint8_t *file, size_t bytes, const pdf_plan_request *request, pdf_arena *arena, pdf_plan *plan);

/* Writes a planned section with this material: certificates, OCSP responses and CRLs. `tail` is that of the update before it.
 * With a time stamp of at most token_bytes, the section is `head`, '<' hex digits '>', `rest`, and its /ByteRange begins with
 * the original; without one, `head` is empty. What a caller has kept of a plan is not trusted: if it cannot be one, the
 * answer is a refusal. */
pdf_refusal pdf_write_section(const pdf_long_term *section, pdf_text tail, const pdf_material_list lists[PDF_MATERIALS], size_t token_bytes, pdf_arena *arena, pdf_buffer *head, pdf_buffer *rest);

#endif
