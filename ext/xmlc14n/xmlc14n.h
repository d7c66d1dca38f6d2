/* The canonical form of an XML document (Exclusive XML Canonicalization 1.0), and where a signature goes into it.
 *
 * One pass over the bytes builds no tree. It checks that the document is well-formed, also as to namespaces (XML 1.0,
 * Namespaces in XML 1.0), writes the canonical form to an output, and notes what a signature must know: the element
 * that a location names, the namespaces and ids there, and the ds:Signature elements that are there already. Refused
 * are, besides, a DOCTYPE, other versions of XML, namespace names that are no absolute URIs, ids that occur twice, and
 * what exceeds the limits.
 *
 *   xmlc14n_new -> (xmlc14n_run* or xmlc14n_digest_many*, results are read, xmlc14n_reset)* -> xmlc14n_free
 *
 * The document is UTF-8 with or without a byte order mark, and lies in memory as a whole. A canonicaliser holds the
 * open elements, the names of prefixes and namespaces, and the results; the canonical form is handed over in pieces.
 * All offsets count bytes from the first byte of the document, its byte order mark included. Nothing here does I/O.
 * Only one thread at a time may use a canonicaliser. */
#ifndef BATCHSEAL_XMLC14N_H
#define BATCHSEAL_XMLC14N_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"

typedef struct xmlc14n xmlc14n;
typedef struct xmlc14n_kernel xmlc14n_kernel;

typedef enum {
    XMLC14N_OK,
    XMLC14N_EMPTY,
    XMLC14N_TOKEN,
    XMLC14N_CUT,
    XMLC14N_CHARACTER,
    XMLC14N_UTF8,
    XMLC14N_MISMATCH,
    XMLC14N_DUPLICATE_ATTRIBUTE,
    XMLC14N_BEHIND_ROOT,
    XMLC14N_ENTITY,
    XMLC14N_REFERENCE,
    XMLC14N_DECLARATION,
    XMLC14N_LATE_DECLARATION,
    XMLC14N_UNBOUND,
    XMLC14N_UNDECLARED,
    XMLC14N_RESERVED,
    XMLC14N_DOCTYPE,
    XMLC14N_VERSION,
    XMLC14N_ENCODING,
    XMLC14N_RELATIVE,
    XMLC14N_AMPERSAND,
    XMLC14N_DUPLICATE_ID,
    XMLC14N_LIMIT_DEPTH,
    XMLC14N_LIMIT_ATTRIBUTES,
    XMLC14N_LIMIT_NAMESPACES,
    XMLC14N_LIMIT_NODES,
    XMLC14N_LIMIT_FURTHER,
    XMLC14N_LIMIT_ATTRIBUTE_NAMESPACES,
    XMLC14N_LIMIT_TAG,
    XMLC14N_LIMIT_OUTPUT,
    XMLC14N_LIMIT_FACTOR,
    XMLC14N_LIMIT_MEMORY,
    XMLC14N_MEMORY,
    XMLC14N_OUTPUT,
    XMLC14N_STATUSES
} xmlc14n_status;

/* The code of a refusal for callers, and its message for a person, in which {limit} stands for the limit that was
 * exceeded, and {detail} or {detail!r} for the detail of the result. */
const char *xmlc14n_status_code(xmlc14n_status status);
const char *xmlc14n_status_message(xmlc14n_status status);

typedef struct {
    const uint8_t *bytes;
    size_t n;
} xmlc14n_text;

/* The line and the character in it that a byte belongs to, both from 1. */
void xmlc14n_position(xmlc14n_text document, uint64_t offset, uint64_t *line, uint64_t *column);

typedef struct {
    uint32_t depth;        /* of elements; the root has depth 1 */
    uint32_t attributes;   /* of one element, without its namespace declarations */
    uint32_t namespaces;   /* declarations that are in force at the same time */
    uint64_t nodes;        /* elements and attributes of the document */
    uint64_t further_nodes; /* texts, CDATA sections, comments, processing instructions, namespace declarations */
    uint32_t attribute_namespaces; /* of all attributes that stand beside one of another namespace */
    uint64_t tag_bytes;    /* of one tag, comment or processing instruction */
    uint64_t output_bytes; /* of the canonical form */
    uint32_t output_factor; /* bytes of the canonical form for each byte of a document above XMLC14N_SMALL_BYTES */
    uint64_t memory_bytes; /* that one document adds to what the canonicaliser holds */
} xmlc14n_limits;

/* A shorter document counts as one of so many bytes for `output_factor`. */
enum { XMLC14N_SMALL_BYTES = 256 };

enum { XMLC14N_MAX_STEPS = 64 };

/* One step of a location. A name of "*" stands for any. */
typedef struct {
    xmlc14n_text prefix, name; /* without bytes (NULL) the prefix stands for any namespace */
    uint32_t position;         /* among the elements of one parent that fit, from 1; 0 for any */
} xmlc14n_step;

typedef struct {
    const xmlc14n_step *steps; /* none: the location is the root */
    size_t step_count;         /* at most XMLC14N_MAX_STEPS */
    bool anywhere;             /* the first step may be at any depth */
    bool with_comments;
    bool without_signatures;         /* every ds:Signature is left out of the canonical form */
    bool any_encoding;               /* the document was transcoded, so the encoding that it declares means nothing */
    bool has_apex;                   /* only the element whose tag starts at `apex` is written */
    uint64_t apex;
    const uint64_t *omitted;         /* rising offsets of start tags whose elements are left out */
    size_t omitted_count;
    const xmlc14n_text *inclusive;   /* InclusiveNamespaces PrefixList; an empty text is #default */
    size_t inclusive_count;
} xmlc14n_options;

/* Where the canonical form is written to. When less than XMLC14N_ROOM bytes are left, `drain` takes the bytes away, or
 * gives the output a larger place, so that XMLC14N_ROOM bytes are free again. It returns what it could not do. */
typedef struct xmlc14n_output {
    uint8_t *bytes;
    size_t used, capacity;
    xmlc14n_status (*drain)(struct xmlc14n_output *out);
    void *context;
} xmlc14n_output;

enum { XMLC14N_ROOM = 16384 };

enum { XMLC14N_SHOWN_PATHS = 3 };

typedef struct {
    xmlc14n_text prefix, uri;
} xmlc14n_namespace;

/* What was found. Texts and lists lie in the document or in the canonicaliser, and are valid until its reset. */
typedef struct {
    xmlc14n_status status;
    uint64_t refused_at;
    xmlc14n_text detail; /* the text of the document that is refused, where a refusal is about one */
    uint64_t canonical_bytes;
    uint64_t nodes;         /* elements and attributes of the document */
    uint64_t further_nodes; /* all other nodes of it, as in the limits */
    uint64_t match_count; /* elements that the location names, outside of signatures */
    bool match_in_signature;
    xmlc14n_text paths[XMLC14N_SHOWN_PATHS]; /* of the first elements that the location names */
    xmlc14n_text root;                       /* the name of the root as it is written */
    uint64_t place;                          /* where a last child of the first match would be put */
    bool self_closed;                        /* the match is an empty-element tag, and `place` is at its slash */
    xmlc14n_text parent;                     /* the name of the match as it is written */
    xmlc14n_namespace *namespaces;           /* in scope in the match */
    size_t namespace_count;
    xmlc14n_text *ids; /* the values of all attributes named Id, ID, id and xml:id */
    size_t id_count;
    xmlc14n_text *enclosing_ids; /* of the match and of the elements that it is in */
    size_t enclosing_id_count;
    uint64_t (*signatures)[2]; /* start and end of each ds:Signature that is in no other */
    size_t signature_count;
} xmlc14n_result;

/* The kernel that an instruction set uses, and the name of a kernel. */
const xmlc14n_kernel *xmlc14n_kernel_for(const cpu_isa *isa);
const char *xmlc14n_kernel_name(const xmlc14n_kernel *kernel);

/* Returns NULL if memory runs out. The seed must be random, so that nobody can choose names with equal hashes. */
xmlc14n *xmlc14n_new(const xmlc14n_limits *limits, const cpu_isa *isa, uint64_t seed);
void xmlc14n_free(xmlc14n *c); /* c may be NULL */
void xmlc14n_reset(xmlc14n *c); /* forgets all results */
size_t xmlc14n_held_bytes(const xmlc14n *c);

/* Writes the canonical form of one document to `out`, whose last bytes are not drained. After a refusal the output has
 * some of it. */
void xmlc14n_run(xmlc14n *c, xmlc14n_text document, const xmlc14n_options *options, xmlc14n_output *out,
                 xmlc14n_result *result);

#endif
