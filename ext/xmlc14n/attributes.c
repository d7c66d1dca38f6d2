/* The attributes of one start tag: read, sorted, checked, written (XML 1.0 3.1; Namespaces in XML 1.0 6.3; Canonical XML
 * 1.0 2.2). */
#include "xmlc14n/internal.h"

static bool is_declaration(const attribute *a) {
    return a->prefix_bytes ? a->prefix_bytes == 5 && memcmp(a->name.bytes, "xmlns", 5) == 0
                           : same_text(a->name, "xmlns", 5);
}

/* Reads ` = "value"` behind the name of an attribute. */
static const uint8_t *scan_assignment(xmlc14n *c, const uint8_t *p, const uint8_t *stop, attribute *a) {
    p = skip_space(p, stop);
    if (p == stop) return refuse_end(c, p);
    if (*p != '=') return refuse(c, XMLC14N_TOKEN, p);
    p = skip_space(p + 1, stop);
    if (p == stop) return refuse_end(c, p);
    uint8_t quote = *p;
    if (quote != '"' && quote != '\'') return refuse(c, XMLC14N_TOKEN, p);
    a->value.bytes = ++p;
    p = scan_value(c, p, stop, quote, &a->plain);
    if (!p) return NULL;
    a->value.n = (size_t)(p - a->value.bytes);
    return p + 1;
}

static bool add(xmlc14n *c, const attribute *a) {
    if (is_declaration(a)) return declare(c, a);
    if (c->attribute_count >= c->limits.attributes) return refuse(c, XMLC14N_LIMIT_ATTRIBUTES, a->name.bytes);
    if (++c->nodes > c->limits.nodes) return refuse(c, XMLC14N_LIMIT_NODES, a->name.bytes);
    if (!XML_ROOM(c->attributes, c->attribute_count, c->attribute_capacity))
        return refuse(c, XMLC14N_MEMORY, a->name.bytes);
    c->attributes[c->attribute_count++] = *a;
    return true;
}

const uint8_t *scan_attributes(xmlc14n *c, const uint8_t *p, const uint8_t *stop) {
    for (;;) {
        const uint8_t *from = p, *colon;
        p = skip_space(p, stop);
        if (p == stop) return refuse_end(c, p);
        if (*p == '>') return p;
        if (*p == '/') {
            if (p + 1 == stop) return refuse_end(c, stop);
            return p[1] == '>' ? p : refuse(c, XMLC14N_TOKEN, p + 1);
        }
        if (p == from) return refuse(c, XMLC14N_TOKEN, p);
        attribute a = {.name.bytes = p};
        if (!(p = scan_qname(c, p, stop, &colon))) return NULL;
        a.name.n = (size_t)(p - a.name.bytes);
        a.local = a.name;
        if (colon) {
            a.prefix_bytes = (size_t)(colon - a.name.bytes);
            a.local = (xmlc14n_text){colon + 1, a.name.n - a.prefix_bytes - 1};
        }
        if (!(p = scan_assignment(c, p, stop, &a)) || !add(c, &a)) return NULL;
    }
}

static bool attribute_before(const void *context, uint32_t first, uint32_t second) {
    const xmlc14n *c = context;
    const attribute *a = &c->attributes[first], *b = &c->attributes[second];
    if (a->uri != b->uri) return c->uris.items[a->uri].rank < c->uris.items[b->uri].rank;
    return compare_texts(a->local, b->local) < 0;
}

static bool is_id(const attribute *a) {
    if (a->local.n != 2) return false;
    uint8_t first = a->local.bytes[0], second = a->local.bytes[1];
    if (a->uri == URI_XML) return first == 'i' && second == 'd';
    return a->uri == URI_NONE && ((first == 'I' && (second == 'd' || second == 'D')) || (first == 'i' && second == 'd'));
}

static xmlc14n_text trimmed(xmlc14n_text value) {
    const uint8_t *p = value.bytes, *end = p + value.n;
    size_t length;
    while (p < end && (is_space(*p) || is_wide_space(p, (size_t)(end - p), &length))) p += *p < 0x80 ? 1 : length;
    while (end > p) {
        const uint8_t *last = end - 1;
        while (last > p && (*last & 0xc0) == 0x80) last--;
        if (!is_space(*last) && !is_wide_space(last, (size_t)(end - last), &length)) break;
        end = last;
    }
    return (xmlc14n_text){p, (size_t)(end - p)};
}

static bool note_id(xmlc14n *c, frame *f, const attribute *a) {
    xmlc14n_text value = a->value;
    if (!a->plain && !decode_value(c, value, &value)) return false;
    if (!XML_ROOM(c->ids, c->id_count, c->id_capacity)) return refuse(c, XMLC14N_MEMORY, a->name.bytes);
    c->ids[c->id_count++] = (noted_id){trimmed(value), a->name.bytes};
    f->id_count++;
    return check_memory(c, a->name.bytes);
}

/* Attributes of one namespace are sorted by their names alone. */
static bool rank_namespaces(xmlc14n *c) {
    size_t same = 1;
    while (same < c->attribute_count && c->attributes[same].uri == c->attributes[0].uri) same++;
    if (same == c->attribute_count) return true;
    for (size_t i = 0; i < c->attribute_count; i++)
        if (!rank_uri(c, c->attributes[i].uri, c->attributes[i].name.bytes)) return false;
    return true;
}

bool resolve_attributes(xmlc14n *c, frame *f) {
    if (!order_room(c, c->attribute_count)) return false;
    for (size_t i = 0; i < c->attribute_count; i++) {
        attribute *a = &c->attributes[i];
        c->order[i] = (uint32_t)i;
        if (a->prefix_bytes) {
            a->prefix = written_prefix(c, a->name.bytes, a->prefix_bytes);
            if (a->prefix == UINT32_MAX) return false;
            a->uri = c->bindings[a->prefix].uri;
            if (a->uri == URI_NONE) return refuse(c, XMLC14N_UNBOUND, a->name.bytes);
        }
        if (is_id(a) && !note_id(c, f, a)) return false;
    }
    if (!rank_namespaces(c)) return false;
    sort_numbers(c->order, c->attribute_count, attribute_before, c);
    for (size_t i = 1; i < c->attribute_count; i++) {
        /* In the order equal ones stand side by side. */
        if (!attribute_before(c, c->order[i - 1], c->order[i])) {
            const attribute *a = &c->attributes[c->order[i - 1]], *b = &c->attributes[c->order[i]];
            return refuse(c, XMLC14N_DUPLICATE_ATTRIBUTE, a->name.bytes > b->name.bytes ? a->name.bytes : b->name.bytes);
        }
    }
    return true;
}

bool put_attributes(xmlc14n *c) {
    for (size_t i = 0; i < c->attribute_count; i++) {
        const attribute *a = &c->attributes[c->order[i]];
        if (!put(c, " ", 1) || !put_text(c, a->name) || !put(c, "=\"", 2)) return false;
        if (!(a->plain ? put_text(c, a->value) : put_value(c, a->value)) || !put(c, "\"", 1)) return false;
    }
    return true;
}

/* Each id is looked up among those before it, in a table that is never more than half full. */
bool check_ids(xmlc14n *c) {
    if (c->id_count < 2) return true;
    if (c->id_count >= UINT32_MAX / 4) return refuse(c, XMLC14N_LIMIT_NODES, c->end);
    size_t slot_count = 4;
    while (slot_count < c->id_count * 2) slot_count *= 2;
    uint32_t *slots = xml_alloc(&c->arena, slot_count * sizeof *slots); /* numbers + 1 */
    if (!slots) return refuse(c, XMLC14N_MEMORY, c->end);
    memset(slots, 0, slot_count * sizeof *slots);
    for (size_t i = 0; i < c->id_count; i++) {
        const noted_id *id = &c->ids[i];
        size_t slot = hash_of(c->seed, id->value.bytes, id->value.n) & (slot_count - 1);
        for (; slots[slot]; slot = (slot + 1) & (slot_count - 1)) {
            if (!same_text(c->ids[slots[slot] - 1].value, id->value.bytes, id->value.n)) continue;
            return refuse_text(c, XMLC14N_DUPLICATE_ID, id->at, id->value);
        }
        slots[slot] = (uint32_t)i + 1;
    }
    return check_memory(c, c->end);
}
