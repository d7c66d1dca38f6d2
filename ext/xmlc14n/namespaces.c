/* Prefixes and namespace names by number, the declarations in force, and those that are written (Namespaces in XML 1.0;
 * Exclusive XML Canonicalization 1.0 3).
 *
 * A declaration is written at an element that uses its prefix, in its own name or in one of an attribute, unless the
 * nearest element of the output that declares the prefix says the same. Two stacks hold what was changed by the open
 * elements, so that it is taken back when they end. */
#include "xmlc14n/internal.h"
#include "xmlc14n/utf8.h"

/* --- texts by number ----------------------------------------------------------------------------------------------- */

uint64_t hash_of(uint64_t seed, const uint8_t *bytes, size_t n) {
    uint64_t hash = seed ^ n * 0x9e3779b97f4a7c15u, word;
    for (; n >= 8; bytes += 8, n -= 8) {
        memcpy(&word, bytes, 8);
        hash = (hash ^ word) * 0xff51afd7ed558ccdu;
        hash ^= hash >> 32;
    }
    word = 0;
    for (size_t i = 0; i < n; i++) word |= (uint64_t)bytes[i] << 8 * i;
    hash = (hash ^ word ^ seed >> 7) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 29;
}

static bool rehash(name_table *t) {
    size_t slot_count = t->slot_count ? t->slot_count * 2 : 64;
    if (!xml_renew(&t->slots, slot_count * sizeof *t->slots)) return false;
    t->slot_count = slot_count;
    for (size_t i = 0; i < t->count; i++) {
        size_t slot = t->items[i].hash & (slot_count - 1);
        while (t->slots[slot]) slot = (slot + 1) & (slot_count - 1);
        t->slots[slot] = (uint32_t)i + 1;
    }
    return true;
}

/* The number of a text, which is added if it is new; the bytes must stay where they are. UINT32_MAX if memory runs
 * out. */
static uint32_t number_of(xmlc14n *c, name_table *t, const uint8_t *bytes, size_t n) {
    uint64_t hash = hash_of(c->seed, bytes, n);
    if (t->count * 2 >= t->slot_count && !rehash(t)) return UINT32_MAX;
    size_t slot = hash & (t->slot_count - 1);
    for (; t->slots[slot]; slot = (slot + 1) & (t->slot_count - 1)) {
        const interned *known = &t->items[t->slots[slot] - 1];
        if (known->hash == hash && same_text(known->name, bytes, n)) return t->slots[slot] - 1;
    }
    if (t->count >= UINT32_MAX - 1 || !XML_ROOM(t->items, t->count, t->capacity)) return UINT32_MAX;
    t->items[t->count] = (interned){.name = {bytes, n}, .hash = hash};
    t->slots[slot] = (uint32_t)++t->count;
    return (uint32_t)t->count - 1;
}

static void empty_table(name_table *t) {
    t->count = 0;
    if (t->slots) memset(t->slots, 0, t->slot_count * sizeof *t->slots);
}

uint32_t prefix_number(xmlc14n *c, const uint8_t *bytes, size_t n) {
    size_t known = c->prefixes.count;
    uint32_t number = number_of(c, &c->prefixes, bytes, n);
    if (number == UINT32_MAX || (number == known && !XML_ROOM(c->bindings, known, c->binding_capacity))) {
        refuse(c, XMLC14N_MEMORY, bytes);
        return UINT32_MAX;
    }
    if (number == known) c->bindings[number] = (binding){0};
    return number;
}

bool namespaces_begin(xmlc14n *c) {
    static const xmlc14n_text URIS[KNOWN_URIS] = {
        [URI_XML] = {(const uint8_t *)XML_URI, sizeof XML_URI - 1},
        [URI_XMLNS] = {(const uint8_t *)XMLNS_URI, sizeof XMLNS_URI - 1},
        [URI_SIGNATURE] = {(const uint8_t *)SIGNATURE_URI, sizeof SIGNATURE_URI - 1},
    };
    static const char *const PREFIXES[KNOWN_PREFIXES] = {
        [PREFIX_DEFAULT] = "", [PREFIX_XML] = "xml", [PREFIX_XMLNS] = "xmlns"};
    empty_table(&c->prefixes);
    empty_table(&c->uris);
    memset(c->recent, 0, sizeof c->recent);
    c->binding_count = c->written_count = c->ranked_count = 0;
    for (size_t i = 0; i < KNOWN_URIS; i++)
        if (number_of(c, &c->uris, URIS[i].bytes, URIS[i].n) != i) return refuse(c, XMLC14N_MEMORY, c->document);
    for (size_t i = 0; i < KNOWN_PREFIXES; i++)
        if (prefix_number(c, (const uint8_t *)PREFIXES[i], strlen(PREFIXES[i])) != i) return false;
    /* The canonical form never declares the prefix xml. */
    c->bindings[PREFIX_XML].uri = c->bindings[PREFIX_XML].written_uri = URI_XML;
    return true;
}

/* --- declarations -------------------------------------------------------------------------------------------------- */

enum { OTHER, URI_CHARACTER, DIGIT, LETTER }; /* of bytes in a URI (RFC 3986 2) */

static unsigned uri_class(uint8_t b) {
    uint8_t low = b | 0x20;
    if (low >= 'a' && low <= 'z') return LETTER;
    if (b >= '0' && b <= '9') return DIGIT;
    return b && strchr("-._~!$'()*+,;=:@/?", b) ? URI_CHARACTER : OTHER;
}

static bool is_hex(uint8_t b) { return (b >= '0' && b <= '9') || ((b | 0x20) >= 'a' && (b | 0x20) <= 'f'); }

/* Skips what begins with "//" and ends before the path: a host, or an address in brackets, and a port (RFC 3986 3.2). */
static const uint8_t *skip_address(const uint8_t *p, const uint8_t *end) {
    if (end - p < 3 || p[0] != '/' || p[1] != '/') return p;
    const uint8_t *at = p + 2, *bracket = *at == '[' ? memchr(at, ']', (size_t)(end - at)) : NULL;
    if (bracket) {
        for (at++; at < bracket && (is_hex(*at) || *at == ':' || *at == '.'); at++) continue;
        if (at < bracket) return NULL;
        p = at + 1;
    }
    const uint8_t *colon = NULL;
    for (at = bracket ? p : p + 2; at < end && *at != '/' && *at != '?' && *at != '#'; at++) {
        if (*at == '@') colon = NULL;
        else if (*at == ':' && !colon) colon = at;
    }
    /* An empty port is allowed too, but not every verifier takes it. */
    if (colon && colon + 1 == at) return NULL;
    for (const uint8_t *port = colon ? colon + 1 : at; port < at; port++)
        if (uri_class(*port) != DIGIT) return NULL;
    return p;
}

/* An absolute URI (RFC 3986 4.3), perhaps with a fragment. */
static bool is_absolute(xmlc14n_text uri) {
    const uint8_t *p = uri.bytes, *end = p + uri.n;
    bool fragment = false;
    if (p == end || uri_class(*p) != LETTER) return false;
    while (p < end && (uri_class(*p) >= DIGIT || *p == '+' || *p == '-' || *p == '.')) p++;
    if (p == end || *p != ':') return false;
    if (!(p = skip_address(p + 1, end))) return false;
    for (; p < end; p++) {
        if (*p == '%') {
            if (end - p < 3 || !is_hex(p[1]) || !is_hex(p[2])) return false;
            p += 2;
        } else if (*p == '#') {
            if (fragment) return false;
            fragment = true;
        } else if (*p != '&' && uri_class(*p) == OTHER) {
            return false;
        }
    }
    return true;
}

/* Makes ` xmlns:p="uri"` as the canonical form has it (Canonical XML 1.0 2.3). */
static bool make_declaration(xmlc14n *c, xmlc14n_text prefix, xmlc14n_text uri, xmlc14n_text *made) {
    static const char NAME[] = " xmlns";
    uint8_t *out = xml_alloc(&c->arena, sizeof NAME + prefix.n + 4 + uri.n + STEP), *at = out;
    if (!out) return refuse(c, XMLC14N_MEMORY, c->document);
    memcpy(at, NAME, sizeof NAME - 1);
    at += sizeof NAME - 1;
    if (prefix.n) {
        *at++ = ':';
        memcpy(at, prefix.bytes, prefix.n);
        at += prefix.n;
    }
    *at++ = '=';
    *at++ = '"';
    /* A URI has no character that is written as a reference. */
    if (uri.n) memcpy(at, uri.bytes, uri.n);
    at += uri.n;
    *at++ = '"';
    *made = (xmlc14n_text){out, (size_t)(at - out)};
    return true;
}

/* Puts a declaration in force. */
static bool bind(xmlc14n *c, uint32_t prefix, uint32_t uri, const uint8_t *at) {
    binding *b = &c->bindings[prefix];
    if (c->binding_count >= c->limits.namespaces) return refuse(c, XMLC14N_LIMIT_NAMESPACES, at);
    if (!XML_ROOM(c->undo_bindings, c->binding_count, c->undo_binding_capacity))
        return refuse(c, XMLC14N_MEMORY, c->document);
    c->undo_bindings[c->binding_count++] = (undo_binding){prefix, b->uri, b->declaration};
    if (uri != b->latest_uri || !b->latest.n) {
        if (!make_declaration(c, c->prefixes.items[prefix].name, c->uris.items[uri].name, &b->latest)) return false;
        b->latest_uri = uri;
    }
    b->uri = uri;
    b->declaration = b->latest;
    return true;
}

bool declare(xmlc14n *c, const attribute *a) {
    xmlc14n_text prefix = a->prefix_bytes ? a->local : (xmlc14n_text){a->name.bytes, 0}, value = a->value;
    uint32_t number = prefix_number(c, prefix.bytes, prefix.n);
    if (number == UINT32_MAX || (!a->plain && !decode_value(c, value, &value))) return false;
    uint32_t uri = number_of(c, &c->uris, value.bytes, value.n);
    if (uri == UINT32_MAX) return refuse(c, XMLC14N_MEMORY, a->name.bytes);
    /* Namespaces in XML 1.0 3: what is reserved, and 6.1: only the default namespace can be undeclared. */
    if (number == PREFIX_XMLNS || uri == URI_XMLNS || (number == PREFIX_XML) != (uri == URI_XML))
        return refuse(c, XMLC14N_RESERVED, a->name.bytes);
    if (uri == URI_NONE && number != PREFIX_DEFAULT) return refuse(c, XMLC14N_UNDECLARED, a->name.bytes);
    if (uri >= KNOWN_URIS && !is_absolute(value)) return refuse_text(c, XMLC14N_RELATIVE, a->name.bytes, value);
    if (memchr(value.bytes, '&', value.n)) return refuse_text(c, XMLC14N_AMPERSAND, a->name.bytes, value);
    binding *b = &c->bindings[number];
    if (b->declared_by == c->element_number) return refuse(c, XMLC14N_DUPLICATE_ATTRIBUTE, a->name.bytes);
    b->declared_by = c->element_number;
    return count_further(c, a->name.bytes) && bind(c, number, uri, a->name.bytes) && check_memory(c, a->name.bytes);
}

void namespaces_leave(xmlc14n *c, const frame *f) {
    while (c->binding_count > f->bindings) {
        const undo_binding *undo = &c->undo_bindings[--c->binding_count];
        binding *b = &c->bindings[undo->prefix];
        b->uri = undo->uri;
        b->declaration = undo->declaration;
    }
    while (c->written_count > f->written) {
        const undo_written *undo = &c->undo_written[--c->written_count];
        c->bindings[undo->prefix].written_uri = undo->uri;
    }
}

/* --- what is written ----------------------------------------------------------------------------------------------- */

bool use_prefix(xmlc14n *c, uint32_t prefix) {
    binding *b = &c->bindings[prefix];
    if (!XML_ROOM(c->undo_written, c->written_count, c->undo_written_capacity))
        return refuse(c, XMLC14N_MEMORY, c->document);
    c->undo_written[c->written_count++] = (undo_written){prefix, b->written_uri};
    b->written_uri = b->uri;
    return true;
}

/* Notes that a declaration is written at this element, if it must be. */
static inline bool use(xmlc14n *c, uint32_t prefix) {
    const binding *b = &c->bindings[prefix];
    return LIKELY(b->written_uri == b->uri) || use_prefix(c, prefix);
}

static bool prefix_before(const void *context, uint32_t a, uint32_t b) {
    const xmlc14n *c = context;
    return compare_texts(c->prefixes.items[c->undo_written[a].prefix].name,
                         c->prefixes.items[c->undo_written[b].prefix].name) < 0;
}

static bool put_declaration(xmlc14n *c, size_t at) {
    const binding *b = &c->bindings[c->undo_written[at].prefix];
    return b->uri == URI_NONE ? put(c, " xmlns=\"\"", 9) : put_text(c, b->declaration);
}

bool put_declarations(xmlc14n *c, uint32_t element_prefix) {
    size_t first = c->written_count;
    if (!use(c, element_prefix)) return false;
    for (size_t i = 0; i < c->attribute_count; i++) {
        const attribute *a = &c->attributes[i];
        if (a->prefix_bytes && !use(c, a->prefix)) return false;
    }
    /* A prefix of the list is taken as used by every element where it stands for something. */
    for (size_t i = 0; i < c->options->inclusive_count; i++) {
        uint32_t prefix = prefix_number(c, c->options->inclusive[i].bytes, c->options->inclusive[i].n);
        if (prefix == UINT32_MAX) return false;
        if ((c->bindings[prefix].uri || prefix == PREFIX_DEFAULT) && !use(c, prefix)) return false;
    }
    size_t count = c->written_count - first;
    if (count <= 1) return count == 0 || put_declaration(c, first);
    /* The order of the attributes stays in front. */
    if (!order_room(c, c->attribute_count + count)) return false;
    uint32_t *order = c->order + c->attribute_count;
    for (size_t i = 0; i < count; i++) order[i] = (uint32_t)(first + i);
    sort_numbers(order, count, prefix_before, c);
    for (size_t i = 0; i < count; i++)
        if (!put_declaration(c, order[i])) return false;
    return true;
}
