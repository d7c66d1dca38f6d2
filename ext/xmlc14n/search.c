/* Follows the elements of a document, finds the one that a location names, and notes what a signature must know. */
#include "xmlc14n/internal.h"

enum { LONGEST_PATH = 1000 };

bool search_begin(xmlc14n *c) {
    const xmlc14n_options *o = c->options;
    bool positions = false;
    c->counts = NULL;
    for (size_t i = 0; i < o->step_count; i++) {
        positions = positions || o->steps[i].position;
        c->step_prefixes[i] = PREFIX_DEFAULT;
        if (!o->steps[i].prefix.bytes) continue;
        c->step_prefixes[i] = prefix_number(c, o->steps[i].prefix.bytes, o->steps[i].prefix.n);
        if (c->step_prefixes[i] == UINT32_MAX) return false;
    }
    if (!positions) return true;
    size_t bytes = (c->limits.depth + 1) * o->step_count * sizeof *c->counts;
    if (!(c->counts = xml_alloc(&c->arena, bytes))) return refuse(c, XMLC14N_MEMORY, c->document);
    memset(c->counts, 0, bytes);
    return true;
}

static bool fits(const xmlc14n *c, size_t step, xmlc14n_text local, uint32_t uri) {
    const xmlc14n_step *s = &c->options->steps[step];
    if (!same_text(s->name, "*", 1) && !same_text(s->name, local.bytes, local.n)) return false;
    return !s->prefix.bytes || (uri != URI_NONE && c->bindings[c->step_prefixes[step]].uri == uri);
}

/* Whether the element that has just begun is named. */
static bool is_named(xmlc14n *c, frame *f, xmlc14n_text local, uint32_t uri) {
    const xmlc14n_options *o = c->options;
    if (!o->step_count) return c->depth == 1;
    uint64_t begun = (c->depth > 1 ? c->frames[c->depth - 2].steps : 1) | o->anywhere;
    bool named = false;
    /* How many children of its parent fitted each step; of its own, none so far. */
    uint32_t *beside = c->counts ? c->counts + (c->depth - 1) * o->step_count : NULL;
    if (beside) memset(beside + o->step_count, 0, o->step_count * sizeof *beside);
    for (f->steps = 0; begun; begun &= begun - 1) {
        size_t step = (size_t)__builtin_ctzll(begun);
        if (!fits(c, step, local, uri)) continue;
        uint32_t position = o->steps[step].position;
        if (position && ++beside[step] != position) continue;
        if (step + 1 == o->step_count) named = true;
        else f->steps |= (uint64_t)1 << (step + 1);
    }
    return named;
}

/* The names of the open elements. */
static bool note_path(xmlc14n *c, xmlc14n_text *path) {
    static const char MORE[] = "/...";
    size_t bytes = 0;
    uint32_t shown = 0;
    for (; shown < c->depth && bytes + c->frames[shown].name.n < LONGEST_PATH; shown++)
        bytes += 1 + c->frames[shown].name.n;
    uint8_t *out = xml_alloc(&c->arena, bytes + sizeof MORE);
    if (!out) return refuse(c, XMLC14N_MEMORY, c->document);
    *path = (xmlc14n_text){out, bytes};
    for (uint32_t i = 0; i < shown; i++) {
        *out++ = '/';
        memcpy(out, c->frames[i].name.bytes, c->frames[i].name.n);
        out += c->frames[i].name.n;
    }
    if (shown == c->depth) return true;
    memcpy(out, MORE, sizeof MORE - 1);
    path->n += sizeof MORE - 1;
    return true;
}

static bool note_scope(xmlc14n *c) {
    xmlc14n_result *r = c->result;
    const frame *f = &c->frames[c->depth - 1];
    size_t ids = 0;
    for (uint32_t i = 0; i < c->depth; i++) ids += c->frames[i].id_count;
    r->namespaces = xml_alloc(&c->arena, c->prefixes.count * sizeof *r->namespaces);
    r->enclosing_ids = xml_alloc(&c->arena, ids * sizeof *r->enclosing_ids);
    if (!r->namespaces || !r->enclosing_ids) return refuse(c, XMLC14N_MEMORY, f->name.bytes);
    for (size_t i = 0; i < c->prefixes.count; i++) {
        uint32_t uri = c->bindings[i].uri;
        if (uri != URI_NONE)
            r->namespaces[r->namespace_count++] =
                (xmlc14n_namespace){c->prefixes.items[i].name, c->uris.items[uri].name};
    }
    for (uint32_t i = 0; i < c->depth; i++)
        for (size_t id = 0; id < c->frames[i].id_count; id++)
            r->enclosing_ids[r->enclosing_id_count++] = c->ids[c->frames[i].first_id + id].value;
    return true;
}

bool search_enter(xmlc14n *c, frame *f, xmlc14n_text local, uint32_t uri, const uint8_t *tag) {
    xmlc14n_result *r = c->result;
    if (c->depth == 1) r->root = f->name;
    if (UNLIKELY(uri == URI_SIGNATURE) && !c->signature_depth && same_text(local, "Signature", 9)) {
        c->signature_depth = c->depth;
        c->signature_start = offset_of(c, tag);
    }
    if (LIKELY(!is_named(c, f, local, uri))) return true;
    if (c->signature_depth) {
        r->match_in_signature = true;
        return true;
    }
    if (r->match_count < XMLC14N_SHOWN_PATHS && !note_path(c, &r->paths[r->match_count])) return false;
    if (++r->match_count > 1) return true;
    c->match_depth = c->depth;
    r->parent = f->name;
    return note_scope(c);
}

bool search_leave(xmlc14n *c, const uint8_t *place, bool self_closed, const uint8_t *end) {
    if (UNLIKELY(c->depth == c->match_depth)) {
        c->match_depth = 0;
        c->result->place = offset_of(c, place);
        c->result->self_closed = self_closed;
    }
    if (LIKELY(c->depth != c->signature_depth)) return true;
    c->signature_depth = 0;
    if (!XML_ROOM(c->signatures, c->signature_count, c->signature_capacity)) return refuse(c, XMLC14N_MEMORY, place);
    c->signatures[c->signature_count][0] = c->signature_start;
    c->signatures[c->signature_count++][1] = offset_of(c, end);
    return check_memory(c, place);
}

bool search_finish(xmlc14n *c) {
    xmlc14n_result *r = c->result;
    r->ids = xml_alloc(&c->arena, c->id_count * sizeof *r->ids);
    r->signatures = xml_alloc(&c->arena, c->signature_count * sizeof *r->signatures);
    if (!r->ids || !r->signatures) return refuse(c, XMLC14N_MEMORY, c->end);
    for (size_t i = 0; i < c->id_count; i++) r->ids[i] = c->ids[i].value;
    if (c->signature_count) memcpy(r->signatures, c->signatures, c->signature_count * sizeof *r->signatures);
    r->id_count = c->id_count;
    r->signature_count = c->signature_count;
    return true;
}
