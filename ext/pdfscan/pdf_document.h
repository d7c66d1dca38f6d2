/* A PDF that is being read: its xref sections, its objects, and the streams that had to be decoded. Internal to
 * pdfscan.
 *
 * A file calls only files that stand below it:
 *
 *   pdf_plan.c         the way of one document: read, repair if needed, write the update
 *   pdf_update.c       writes the update's objects
 *   pdf_section.c      plans the section behind the signature
 *   pdf_section_write.c  writes it, once its material is there
 *   pdf_field_update.c writes what changes in a field that exists and is signed
 *   pdf_appearance.c   places and writes the appearance of a visible signature
 *   pdf_edit.c         changes entries of dictionaries and arrays
 *   pdf_mend.c         leaves out what is neither a key nor a value
 *   pdf_xref_write.c   writes the update's xref section and trailer
 *   pdf_writer.c       writes the parts of which every object consists
 *   pdf_seed_values.c  copies what a field demands of its signature
 *   pdf_existing_field.c  finds the field that is to be signed
 *   pdf_structure.c    finds the catalog, the page and the form
 *   pdf_encryption.c   reads how the document is encrypted
 *   pdf_rules.c        finds what PDF/A demands of an appearance
 *   pdf_pages.c        walks the tree of pages
 *   pdf_fields.c       walks the fields of the form
 *   pdf_permission.c   reads what existing signatures permit
 *   pdf_field_names.c  collects field names that are taken
 *   pdf_text_read.c    reads text strings and the names of fields
 *   pdf_rebuild.c      finds the objects by scanning the whole file
 *   pdf_xref.c         reads the xref sections
 *   pdf_object.c       loads objects and streams by number
 *   pdf_crypt.c        encrypts and decrypts strings and streams
 *   pdf_cipher.c       RC4, AES, MD5    pdf_string.c  bytes of strings
 *   pdf_lookup.c       answers where an object is, and what the trailers say
 *   pdf_filter.c       decodes the data of a stream
 *   pdf_inflate.c      zlib             pdf_text.c   text strings
 *   pdf_lexer.c        values           pdf_seen.c   sets of numbers
 *   pdf_arena.c        memory
 *
 * Only pdf_object.c is recursive, because PDF is: the length of a stream may be an object in another stream. Trees of
 * pages and of fields are walked with a stack in the arena. */
#ifndef BATCHSEAL_PDF_DOCUMENT_H
#define BATCHSEAL_PDF_DOCUMENT_H

#include "pdfscan/pdf_lexer.h"
#include "pdfscan/pdf_plan.h"

enum { PDF_MAX_OBJECT_NUMBER = 8388607 }; /* ISO 32000-2 annex C */

/* The rows of objects first .. first + count - 1 in a section. pdf_rows.h describes their forms. */
typedef struct {
    uint32_t first, count;
    const uint8_t *rows;
    uint8_t width[3]; /* binary rows: bytes of each of the three fields; text rows: all 0 */
} pdf_subsection;

typedef struct pdf_section {
    bool is_stream;
    uint64_t start;   /* offset of the section, counted from the %PDF header like every offset in a PDF */
    pdf_span trailer; /* its trailer dictionary */
    pdf_subsection *subsections;
    uint32_t count;
    struct pdf_section *hidden; /* /XRefStm of a hybrid file (7.5.8.4) */
} pdf_section;

typedef struct {
    enum { PDF_ENTRY_FREE, PDF_ENTRY_PLAIN, PDF_ENTRY_COMPRESSED, PDF_ENTRY_MISSING, PDF_ENTRY_BROKEN } type;
    uint64_t location;   /* plain: offset; compressed: number of the object stream */
    uint32_t generation; /* compressed: index in the object stream */
} pdf_entry;

/* An object that a scan of the whole file found. */
typedef struct {
    uint64_t location; /* as in pdf_entry */
    uint32_t num;
    uint32_t generation : 31, compressed : 1;
} pdf_found;

typedef struct pdf_objstm {
    struct pdf_objstm *next;
    uint32_t num, count;
    pdf_span data;
    uint32_t *pairs; /* for each object: its number, then its offset in data */
} pdf_objstm;

typedef struct {
    uint32_t num, gen;
    pdf_span value;
    bool compressed; /* the object is in an object stream */
} pdf_object;

typedef struct pdf_crypt pdf_crypt;

typedef struct {
    pdf_span file; /* from the %PDF header to the end */
    pdf_arena *arena;
    const pdf_limits *limits;
    pdf_text field;     /* the full name of the field that is to be signed; utf8 is NULL where it will be a new one */
    pdf_section *sections; /* newest first */
    uint32_t section_count;
    pdf_span trailer; /* of the newest section, or of the rebuilt one */
    uint64_t size;    /* one more than the highest object number in use */
    bool rebuilt;     /* pdf_rebuild_xref() made the only section, which has no rows: its objects are `found` */
    const pdf_found *found; /* after a rebuild: sorted by number, each number once */
    size_t found_count;
    bool in_objstm;   /* an object stream is being read */
    size_t inflated, inflate_limit; /* bytes that filters have produced */
    size_t work, work_limit;        /* see pdf_spend() */
    size_t update_limit;            /* bytes of the update */
    uint32_t visited; /* objects that were loaded, against limits->objects */
    pdf_objstm *objstms;
    pdf_crypt *crypt; /* NULL if the document is not encrypted */
} pdf_document;

/* Counts work, on every route. A unit is about a byte that is lexed; other steps count as so many units as bytes would
 * take the same time. Returns false over the limit. Else many references to one large object, many lookups in a long
 * list, or a few blocks of compressed data could take very long. */
static inline bool pdf_spend(pdf_document *doc, size_t units) {
    doc->work += units;
    return doc->work <= doc->work_limit;
}

/* Reads the section at startxref, then those before it by /Prev. After PDF_REFUSE_BROKEN_XREF pdf_rebuild_xref() may
 * still help. */
pdf_refusal pdf_read_xref(pdf_document *doc);

/* Makes one section from the objects that a scan of the whole file finds. */
pdf_refusal pdf_rebuild_xref(pdf_document *doc);

pdf_entry pdf_lookup(pdf_document *doc, uint32_t num);
bool pdf_trailer_get(const pdf_document *doc, const char *key, pdf_span *value);

/* A missing object is null (7.3.10). An entry that points to something else gives PDF_REFUSE_BROKEN_XREF. */
pdf_refusal pdf_load(pdf_document *doc, uint32_t num, uint32_t gen, pdf_object *object);

/* Follows a reference, and references to references. object->num is 0 if the value was no reference. */
pdf_refusal pdf_resolve(pdf_document *doc, pdf_span value, pdf_object *object);
pdf_refusal pdf_get_resolved(pdf_document *doc, pdf_span dict, const char *key, pdf_object *object);

/* pdf_get_each() whose work is counted. `ambiguous` may be NULL. Returns false over the limit. */
bool pdf_get_entries(pdf_document *doc, pdf_span dict, const char *const *keys, pdf_span *values, unsigned n, unsigned *ambiguous);

/* Resolves an entry that decides whether the document may be signed. If the key stands twice with different values,
 * readers disagree on it, and the answer is PDF_REFUSE_AMBIGUOUS. */
pdf_refusal pdf_get_decisive(pdf_document *doc, pdf_span dict, const char *key, pdf_object *object);

/* Finds the raw bytes of the stream that follows `dict`. Returns false if no stream follows. */
bool pdf_stream_bytes(pdf_document *doc, pdf_span dict, const uint8_t *end, pdf_span *raw);

/* Decrypts the raw bytes of the object's stream if they are encrypted, then there are filters to undo. */
pdf_refusal pdf_decrypt_data(pdf_document *doc, const pdf_object *holder, pdf_span dict, pdf_span *raw);
pdf_refusal pdf_decode_stream(pdf_document *doc, pdf_span dict, pdf_span raw, pdf_span *data);

/* Replaces `data` by what one filter with these parameters makes of it. Both must be resolved. */
pdf_refusal pdf_apply_filter(pdf_document *doc, pdf_span filter, pdf_span parameters, pdf_span *data);

/* Decodes the object stream `num` and reads its header, or finds it among those already read. */
pdf_refusal pdf_load_objstm(pdf_document *doc, uint32_t num, pdf_objstm **stream);
pdf_refusal pdf_parse_objstm(pdf_document *doc, pdf_span dict, pdf_span raw, pdf_objstm *stream);

/* Reads the value at `at` and counts its bytes as work. */
pdf_refusal pdf_read_value(pdf_document *doc, const uint8_t *at, const uint8_t *end, pdf_span *value);

/* The object in which a resolved value stands: the value itself where a reference led to it, else that of what it was in. */
static inline const pdf_object *pdf_holder(const pdf_object *value, const pdf_object *container) { return value->num ? value : container; }

#endif
