/* Start tags and end tags (XML 1.0 3.1), and what of them is written. */
#include "xmlc14n/internal.h"

/* Whether a tag with so many bytes, the first of which are its name, can be written without further checks. */
static inline bool is_easy(const xmlc14n *c, xmlc14n_text name, size_t bytes) {
    return LIKELY(c->out.capacity - c->out.used >= bytes + 2 * STEP) && is_followed(c, name);
}

static bool put_end_tag(xmlc14n *c, xmlc14n_text name) {
    if (!is_easy(c, name, name.n + 3)) return put(c, "</", 2) && put_text(c, name) && put(c, ">", 1);
    uint8_t *out = c->out.bytes + c->out.used;
    *out++ = '<';
    *out++ = '/';
    out = copy_steps(out, name);
    *out++ = '>';
    c->out.used = (size_t)(out - c->out.bytes);
    return true;
}

static bool put_start_tag(xmlc14n *c, xmlc14n_text name, uint32_t prefix) {
    static const xmlc14n_text NONE = {(const uint8_t *)" xmlns=\"\"                ", 9};
    const binding *b = &c->bindings[prefix];
    bool declares = b->written_uri != b->uri;
    xmlc14n_text declaration = declares ? b->uri == URI_NONE ? NONE : b->declaration : (xmlc14n_text){name.bytes, 0};
    if (c->attribute_count || c->options->inclusive_count || !is_easy(c, name, name.n + declaration.n + 2))
        return put(c, "<", 1) && put_text(c, name) && put_declarations(c, prefix) && put_attributes(c) && put(c, ">", 1);
    uint8_t *out = c->out.bytes + c->out.used;
    *out++ = '<';
    out = copy_steps(copy_steps(out, name), declaration);
    *out++ = '>';
    c->out.used = (size_t)(out - c->out.bytes);
    return !declares || use_prefix(c, prefix);
}

/* Whether this element is left out, with all that is in it. */
static bool is_omitted(xmlc14n *c, const uint8_t *tag) {
    const xmlc14n_options *o = c->options;
    if (o->without_signatures && c->signature_depth == c->depth) return true;
    uint64_t offset = offset_of(c, tag);
    while (c->next_omitted < o->omitted_count && o->omitted[c->next_omitted] < offset) c->next_omitted++;
    return c->next_omitted < o->omitted_count && o->omitted[c->next_omitted] == offset;
}

/* Decides whether from this element on something is hidden or shown. */
static void choose(xmlc14n *c, frame *f, const uint8_t *tag) {
    if (c->hidden) {
        f->shows = c->options->has_apex && offset_of(c, tag) == c->options->apex;
        if (f->shows) unhide(c);
    } else if (is_omitted(c, tag)) {
        f->hides = true;
        hide(c);
    }
}

static const uint8_t *leave(xmlc14n *c, const uint8_t *place, bool self_closed, const uint8_t *end) {
    frame *f = &c->frames[c->depth - 1];
    if (!c->hidden && !put_end_tag(c, f->name)) return NULL;
    if (f->hides) unhide(c);
    if (f->shows) hide(c);
    if (!search_leave(c, place, self_closed, end)) return NULL;
    namespaces_leave(c, f);
    c->depth--;
    return end;
}

const uint8_t *scan_start_tag(xmlc14n *c, const uint8_t *p) {
    const uint8_t *stop = stop_of(c, p);
    const uint8_t *name = p + 1, *colon, *at = scan_qname(c, name, stop, &colon);
    if (!at) return NULL;
    if (c->depth == c->limits.depth) return refuse(c, XMLC14N_LIMIT_DEPTH, p);
    if (++c->nodes > c->limits.nodes) return refuse(c, XMLC14N_LIMIT_NODES, p);
    frame *f = &c->frames[c->depth++];
    *f = (frame){
        .name = {name, (size_t)(at - name)},
        .bindings = c->binding_count,
        .written = c->written_count,
        .first_id = c->id_count,
    };
    c->element_number++;
    c->attribute_count = 0;
    if (*at != '>' && !(at = scan_attributes(c, at, stop))) return NULL;

    uint32_t prefix = PREFIX_DEFAULT;
    xmlc14n_text local = f->name;
    if (colon) {
        prefix = written_prefix(c, name, (size_t)(colon - name));
        if (prefix == UINT32_MAX) return NULL;
        local = (xmlc14n_text){colon + 1, f->name.n - (size_t)(colon + 1 - name)};
    }
    uint32_t uri = c->bindings[prefix].uri;
    if (colon && uri == URI_NONE) return refuse(c, XMLC14N_UNBOUND, name);
    if (c->attribute_count && !resolve_attributes(c, f)) return NULL;
    if (!search_enter(c, f, local, uri, p)) return NULL;
    choose(c, f, p);
    if (!c->hidden && !put_start_tag(c, f->name, prefix)) return NULL;
    return *at == '/' ? leave(c, at, true, at + 2) : at + 1;
}

/* Compares in words as far as they lie in the document. */
static inline bool same_names(const uint8_t *p, xmlc14n_text name, const uint8_t *end) {
    size_t at = 0;
    uint64_t a, b;
    if (UNLIKELY((size_t)(end - p) < name.n + 8)) return memcmp(p, name.bytes, name.n) == 0;
    for (; at + 8 < name.n; at += 8) {
        memcpy(&a, p + at, 8);
        memcpy(&b, name.bytes + at, 8);
        if (a != b) return false;
    }
    memcpy(&a, p + at, 8);
    memcpy(&b, name.bytes + at, 8);
    return (a ^ b) << 8 * (8 - (name.n - at)) == 0; /* of the last word only the first bytes count: from 1 to 8 */
}

const uint8_t *scan_end_tag(xmlc14n *c, const uint8_t *p) {
    const frame *f = &c->frames[c->depth - 1];
    const uint8_t *name = p + 2;
    size_t left = (size_t)(c->end - name);
    if (left <= f->name.n) return refuse(c, XMLC14N_CUT, c->end);
    if (!same_names(name, f->name, c->end)) return refuse(c, XMLC14N_MISMATCH, name);
    const uint8_t *at = name + f->name.n;
    if (*at != '>') {
        const uint8_t *stop = stop_of(c, at), *behind = skip_space(at, stop);
        if (behind == stop) return refuse_end(c, stop);
        if (behind == at) return refuse(c, XMLC14N_MISMATCH, name);
        if (*behind != '>') return refuse(c, XMLC14N_TOKEN, behind);
        at = behind;
    }
    return leave(c, p, false, at + 1);
}
