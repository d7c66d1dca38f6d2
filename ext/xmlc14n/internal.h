/* What the files of the canonicaliser share: its state, and the functions that each file offers to the others.
 *
 * A file calls only files that stand below it:
 *
 *   digest.c      canonical forms into the lanes of mbsha256
 *   xmlc14n.c     creates, empties and frees a canonicaliser; runs one document
 *   document.c    what is around the root, and the content of elements
 *   tag.c         start tags and end tags
 *   search.c      which element a location names, and what is noted of it
 *   attributes.c  the attributes of one start tag
 *   ranks.c       the order of namespace names, by which attributes are sorted
 *   namespaces.c  prefixes, the names that they stand for, and which declarations are written
 *   markup.c      comments, processing instructions, CDATA sections, the XML declaration
 *   text.c        character data, references, attribute values
 *   names.c       names
 *   sorting.c     sorts
 *   output.c      hands over the canonical form when there is no room for more
 *   memory.c      what a document may add to the memory that is held
 *   status.c      refusals with their codes and messages
 *   arena.c       memory
 *
 * A function that reads takes the position p and returns the position behind what it has read, or NULL after it has set
 * the status of a refusal. */
#ifndef BATCHSEAL_XMLC14N_INTERNAL_H
#define BATCHSEAL_XMLC14N_INTERNAL_H

#include <string.h>

#include "xmlc14n/arena.h"
#include "xmlc14n/kernel.h"
#include "xmlc14n/xmlc14n.h"

/* Words are compared and masked by their first bytes. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "only for little-endian processors");

#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* Namespace names that every document starts with. */
enum { URI_NONE, URI_XML, URI_XMLNS, URI_SIGNATURE, KNOWN_URIS };
/* Prefixes that every document starts with: the default namespace has the empty one. */
enum { PREFIX_DEFAULT, PREFIX_XML, PREFIX_XMLNS, KNOWN_PREFIXES };

enum { RECENT = 16 }; /* a power of two */

#define XML_URI "http://www.w3.org/XML/1998/namespace"
#define XMLNS_URI "http://www.w3.org/2000/xmlns/"
#define SIGNATURE_URI "http://www.w3.org/2000/09/xmldsig#"

typedef struct {
    xmlc14n_text name;
    uint64_t hash;
    uint32_t rank; /* of a namespace name: its place among c->ranked, from 1; 0 where it has none */
} interned;

/* Texts by number, found again by an open-addressing table of numbers + 1. */
typedef struct {
    interned *items;
    size_t count, capacity;
    uint32_t *slots;
    size_t slot_count; /* a power of two */
} name_table;

typedef struct {
    uint32_t uri;           /* what the prefix stands for here; URI_NONE if for nothing */
    uint32_t written_uri;   /* what the nearest element of the output that declares it says */
    uint32_t latest_uri;    /* the one that it was declared for last, whether or not that is still in force */
    uint32_t declared_by;   /* number of the element that declared it last */
    xmlc14n_text declaration, latest; /* as the canonical form has them: ` xmlns:p="uri"`; STEP bytes follow */
} binding;

typedef struct {
    uint32_t prefix, uri;
    xmlc14n_text declaration;
} undo_binding;

typedef struct {
    uint32_t prefix, uri;
} undo_written;

typedef struct {
    xmlc14n_text name; /* as it is written */
    size_t prefix_bytes;
    xmlc14n_text local;
    xmlc14n_text value;
    uint32_t prefix, uri;
    bool plain; /* the value is the same in the canonical form */
} attribute;

typedef struct {
    xmlc14n_text value;
    const uint8_t *at;
} noted_id;

typedef struct {
    xmlc14n_text name; /* as it is written */
    size_t bindings, written; /* heights of the stacks before this element */
    size_t first_id;
    uint64_t steps; /* the location's steps that may come next, as bits */
    uint32_t id_count;
    bool hides, shows; /* what is in it is left out; only what is in it is written */
} frame;

struct xmlc14n {
    xmlc14n_limits limits;
    const xmlc14n_kernel *kernel;
    uint64_t seed;

    /* of the document that is being read */
    const uint8_t *document, *end;
    const xmlc14n_options *options;
    xmlc14n_result *result;
    xmlc14n_status status;
    const uint8_t *refused_at;

    xmlc14n_output out;
    bool hidden;         /* what is put into the output is taken back */
    size_t hidden_from;  /* where in the output */
    uint64_t drained;    /* bytes of the canonical form that were handed over */
    uint64_t most_bytes; /* of the canonical form of this document */

    frame *frames;
    uint32_t depth;
    uint32_t element_number;
    uint64_t nodes, further_nodes;
    size_t held_before; /* bytes that were held when the document began */
    size_t next_omitted;
    uint32_t signature_depth; /* of the outermost open ds:Signature; 0 outside */
    uint64_t signature_start;
    uint32_t match_depth; /* of the first match while it is open */

    name_table prefixes, uris;
    struct {
        uint64_t word; /* the bytes of the prefix; 0 for none */
        uint32_t number;
    } recent[RECENT]; /* short prefixes by their bytes */
    binding *bindings; /* by the number of the prefix */
    size_t binding_capacity;

    uint32_t *ranked; /* numbers of namespace names, in the order of the names */
    size_t ranked_count, ranked_capacity;

    undo_binding *undo_bindings;
    size_t binding_count, undo_binding_capacity;
    undo_written *undo_written;
    size_t written_count, undo_written_capacity;

    attribute *attributes;
    size_t attribute_count, attribute_capacity;
    uint32_t *order; /* of the attributes, and of the declarations of one element */
    size_t order_capacity;

    noted_id *ids;
    size_t id_count, id_capacity;
    uint64_t (*signatures)[2];
    size_t signature_count, signature_capacity;

    uint32_t step_prefixes[XMLC14N_MAX_STEPS]; /* numbers of the prefixes in the location */
    uint32_t *counts; /* for each depth: how many children fitted each step; NULL where no step has a position */

    xml_arena arena;
    void *batch; /* memory of digest.c */
    void (*free_batch)(void *batch);
};

static inline uint64_t offset_of(const xmlc14n *c, const uint8_t *p) { return (uint64_t)(p - c->document); }

/* status.c: records the first refusal, and returns NULL. */
const uint8_t *refuse(xmlc14n *c, xmlc14n_status status, const uint8_t *p);

/* Counts a node that is neither an element nor an attribute; p is where it starts. False after a refusal. */
static inline bool count_further(xmlc14n *c, const uint8_t *p) {
    return LIKELY(++c->further_nodes <= c->limits.further_nodes) || refuse(c, XMLC14N_LIMIT_FURTHER, p);
}

static inline bool same_text(xmlc14n_text a, const void *bytes, size_t n) {
    return a.n == n && (n == 0 || memcmp(a.bytes, bytes, n) == 0);
}

/* A text in quotes as an xmlc14n_text. */
#define TEXT(literal) ((xmlc14n_text){(const uint8_t *)(literal), sizeof(literal) - 1})

/* status.c: the same, with a text of the document. */
const uint8_t *refuse_text(xmlc14n *c, xmlc14n_status status, const uint8_t *p, xmlc14n_text detail);
/* The status of a document that ends at p too early, or whose tag is longer than the limit. */
const uint8_t *refuse_end(xmlc14n *c, const uint8_t *p);

/* Where the tag, comment or processing instruction at p must have ended. */
static inline const uint8_t *stop_of(const xmlc14n *c, const uint8_t *p) {
    return (uint64_t)(c->end - p) > c->limits.tag_bytes ? p + c->limits.tag_bytes : c->end;
}

/* memory.c: whether the document leaves the canonicaliser within its memory; false after a refusal. It is asked wherever a
 * document can make lists grow. */
bool check_memory(xmlc14n *c, const uint8_t *p);

/* output.c: all return false after a refusal. */
void cap_output(xmlc14n *c);   /* so that the output is full, and drained, as soon as it is too long */
bool check_output(xmlc14n *c); /* whether what is written so far is not too long */
bool drain(xmlc14n *c);        /* makes XMLC14N_ROOM bytes of room */
bool put_long(xmlc14n *c, const uint8_t *bytes, size_t n); /* any number of bytes */
void hide(xmlc14n *c);
void unhide(xmlc14n *c);

/* Makes room for at most XMLC14N_ROOM bytes. */
static inline bool room(xmlc14n *c, size_t n) { return LIKELY(c->out.capacity - c->out.used >= n) || drain(c); }

static inline bool put(xmlc14n *c, const void *bytes, size_t n) {
    if (UNLIKELY(n > c->out.capacity - c->out.used)) return put_long(c, bytes, n);
    if (n) memcpy(c->out.bytes + c->out.used, bytes, n);
    c->out.used += n;
    return true;
}

static inline bool put_text(xmlc14n *c, xmlc14n_text text) { return put(c, text.bytes, text.n); }

/* Short texts are copied in steps of so many bytes, which may go beyond their ends. */
enum { STEP = 16 };

/* Whether so many bytes behind a text of the document can be read. */
static inline bool is_followed(const xmlc14n *c, xmlc14n_text text) {
    return LIKELY((size_t)(c->end - text.bytes) >= text.n + STEP);
}

/* Copies a text behind which STEP bytes can be read, to a place that has room for as many more. */
static inline uint8_t *copy_steps(uint8_t *out, xmlc14n_text text) {
    for (size_t at = 0; at < text.n; at += STEP) memcpy(out + at, text.bytes + at, STEP);
    return out + text.n;
}

/* sorting.c: sorts numbers. `before` says whether a comes before b; the result of equal ones is any. */
void sort_numbers(uint32_t *numbers, size_t n, bool (*before)(const void *context, uint32_t a, uint32_t b),
                  const void *context);
bool order_room(xmlc14n *c, size_t count); /* of c->order; false after a refusal */

/* Whether a comes before b, byte by byte. That is the order of code points too. */
static inline int compare_texts(xmlc14n_text a, xmlc14n_text b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n ? memcmp(a.bytes, b.bytes, n) : 0;
    return order ? order : (a.n > b.n) - (a.n < b.n);
}

/* names.c: a name with at most one colon, or without any. *colon is NULL if there is none. */
const uint8_t *scan_qname(xmlc14n *c, const uint8_t *p, const uint8_t *stop, const uint8_t **colon);
const uint8_t *scan_ncname(xmlc14n *c, const uint8_t *p, const uint8_t *stop);

/* text.c */
const uint8_t *text_content(xmlc14n *c, const uint8_t *p, const uint8_t *end); /* up to '<' or the end */
const uint8_t *text_cdata(xmlc14n *c, const uint8_t *p, const uint8_t *end);
const uint8_t *text_verbatim(xmlc14n *c, const uint8_t *p, const uint8_t *end); /* with only line ends changed */
/* Up to the quote at p's start. *plain tells that the value is the same in the canonical form. */
const uint8_t *scan_value(xmlc14n *c, const uint8_t *p, const uint8_t *stop, uint8_t quote, bool *plain);
bool put_value(xmlc14n *c, xmlc14n_text value); /* as the canonical form has it */
/* The value without references and with spaces for white space; in the arena. False after a refusal. */
bool decode_value(xmlc14n *c, xmlc14n_text value, xmlc14n_text *decoded);
bool is_wide_space(const uint8_t *p, size_t n, size_t *length); /* white space beyond ASCII, as Unicode has it */

/* markup.c: p is at '<'. */
const uint8_t *scan_comment(xmlc14n *c, const uint8_t *p);
const uint8_t *scan_instruction(xmlc14n *c, const uint8_t *p);
const uint8_t *scan_cdata(xmlc14n *c, const uint8_t *p);
const uint8_t *scan_declaration(xmlc14n *c, const uint8_t *p);
static inline bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }
static inline const uint8_t *skip_space(const uint8_t *p, const uint8_t *stop) {
    while (p < stop && is_space(*p)) p++;
    return p;
}

/* ranks.c: gives a namespace name a rank, by which it is compared with others that have one; p is what needs it. False after a
 * refusal. */
bool rank_uri(xmlc14n *c, uint32_t uri, const uint8_t *p);

/* namespaces.c */
uint64_t hash_of(uint64_t seed, const uint8_t *bytes, size_t n);
bool namespaces_begin(xmlc14n *c);
/* The number of a prefix, or of a namespace name; UINT32_MAX after a refusal. */
uint32_t prefix_number(xmlc14n *c, const uint8_t *bytes, size_t n);
/* The same of a prefix in the document, for which it mostly needs no hash. */
static inline uint32_t written_prefix(xmlc14n *c, const uint8_t *bytes, size_t n) {
    uint64_t word;
    if (n > 8 || c->end - bytes < 8) return prefix_number(c, bytes, n);
    memcpy(&word, bytes, 8);
    word = n == 8 ? word : word & (((uint64_t)1 << 8 * n) - 1); /* no name has a zero */
    size_t at = (word * 0x9e3779b97f4a7c15u) >> 60;
    if (LIKELY(c->recent[at].word == word)) return c->recent[at].number;
    uint32_t number = prefix_number(c, bytes, n);
    if (number != UINT32_MAX) {
        c->recent[at].word = word;
        c->recent[at].number = number;
    }
    return number;
}
bool declare(xmlc14n *c, const attribute *a);              /* false after a refusal */
bool put_declarations(xmlc14n *c, uint32_t element_prefix); /* of the element and of its attributes */
bool use_prefix(xmlc14n *c, uint32_t prefix);               /* notes that its declaration is written here */
void namespaces_leave(xmlc14n *c, const frame *f);

/* attributes.c: p is behind the name of the tag. Returns the position of '>' or of "/>". */
const uint8_t *scan_attributes(xmlc14n *c, const uint8_t *p, const uint8_t *stop);
bool resolve_attributes(xmlc14n *c, frame *f); /* namespaces, order, duplicates, ids */
bool put_attributes(xmlc14n *c); /* in their order */
bool check_ids(xmlc14n *c); /* at the end: refuses ids that occur twice */

/* search.c: all return false after a refusal. */
bool search_begin(xmlc14n *c);
bool search_enter(xmlc14n *c, frame *f, xmlc14n_text local, uint32_t uri, const uint8_t *tag);
/* The element ends: a last child would be put at `place`, and `end` is behind its last byte. */
bool search_leave(xmlc14n *c, const uint8_t *place, bool self_closed, const uint8_t *end);
bool search_finish(xmlc14n *c);

/* tag.c */
const uint8_t *scan_start_tag(xmlc14n *c, const uint8_t *p);
const uint8_t *scan_end_tag(xmlc14n *c, const uint8_t *p);

/* document.c */
const uint8_t *scan_document(xmlc14n *c, const uint8_t *p);

#endif
