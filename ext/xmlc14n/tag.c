/* Start tags and end tags (XML 1.0 3.1), and what of them is written. */
#include "xmlc14n/internal.h"

static bool put_end_tag(xmlc14n *c, xmlc14n_text name) {
    return put(c, "</", 2) && put_text(c, name) && put(c, ">", 1);
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
        prefix = prefix_number(c, name, (size_t)(colon - name));
        if (prefix == UINT32_MAX) return NULL;
        local = (xmlc14n_text){colon + 1, f->name.n - (size_t)(colon + 1 - name)};
    }
    uint32_t uri = c->bindings[prefix].uri;
    if (colon && uri == URI_NONE) return refuse(c, XMLC14N_UNBOUND, name);
    if (c->attribute_count && !resolve_attributes(c, f)) return NULL;
    if (!search_enter(c, f, local, uri, p)) return NULL;
    choose(c, f, p);
    if (!c->hidden) {
        if (!put(c, "<", 1) || !put_text(c, f->name) || !put_declarations(c, prefix)) return NULL;
        if (!put_attributes(c) || !put(c, ">", 1)) return NULL;
    }
    return *at == '/' ? leave(c, at, true, at + 2) : at + 1;
}

const uint8_t *scan_end_tag(xmlc14n *c, const uint8_t *p) {
    const frame *f = &c->frames[c->depth - 1];
    const uint8_t *name = p + 2;
    size_t left = (size_t)(c->end - name);
    if (left <= f->name.n) return refuse(c, XMLC14N_CUT, c->end);
    if (memcmp(name, f->name.bytes, f->name.n) != 0) return refuse(c, XMLC14N_MISMATCH, name);
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
