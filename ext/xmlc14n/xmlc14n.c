/* Creates, empties and frees a canonicaliser, and runs one document through it. */
#include "xmlc14n/xmlc14n.h"

#include <stdlib.h>

#include "xmlc14n/internal.h"

enum { LEAST_TAG_BYTES = 64 };

/* Best first. An instruction set uses the first kernel whose needs it fulfils. */
static const struct {
    uint32_t needs;
    const xmlc14n_kernel *kernel;
} KERNELS[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &xmlc14n_kernel_avx512},
    {CPU_AVX2, &xmlc14n_kernel_avx2},
#endif
    {0, &xmlc14n_kernel_portable},
};

const xmlc14n_kernel *xmlc14n_kernel_for(const cpu_isa *isa) {
    size_t i = 0;
    while ((KERNELS[i].needs & ~isa->needs) != 0) i++;
    return KERNELS[i].kernel;
}

const char *xmlc14n_kernel_name(const xmlc14n_kernel *kernel) { return kernel->name; }

xmlc14n *xmlc14n_new(const xmlc14n_limits *limits, const cpu_isa *isa, uint64_t seed) {
    xmlc14n *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    c->limits = *limits;
    if (c->limits.tag_bytes < LEAST_TAG_BYTES) c->limits.tag_bytes = LEAST_TAG_BYTES;
    if (!c->limits.output_factor) c->limits.output_factor = 1;
    if (c->limits.nodes > UINT32_MAX / 2) c->limits.nodes = UINT32_MAX / 2;
    c->kernel = xmlc14n_kernel_for(isa);
    c->seed = seed;
    c->frames = calloc(limits->depth, sizeof *c->frames);
    if (!c->frames) {
        free(c);
        return NULL;
    }
    return c;
}

void xmlc14n_free(xmlc14n *c) {
    if (!c) return;
    if (c->free_batch) c->free_batch(c->batch);
    xml_arena_free(&c->arena);
    free(c->frames);
    free(c->prefixes.items);
    free(c->prefixes.slots);
    free(c->uris.items);
    free(c->uris.slots);
    free(c->bindings);
    free(c->ranked);
    free(c->undo_bindings);
    free(c->undo_written);
    free(c->attributes);
    free(c->order);
    free(c->ids);
    free(c->signatures);
    free(c);
}

void xmlc14n_reset(xmlc14n *c) { xml_arena_empty(&c->arena); }

/* The longest canonical form that a document may have. What it declares once is written wherever an element that uses it
 * stands in none that does, so that without a bound its length is quadratic. */
static uint64_t most_bytes(const xmlc14n_limits *limits, size_t document_bytes) {
    uint64_t bytes = document_bytes < XMLC14N_SMALL_BYTES ? XMLC14N_SMALL_BYTES : document_bytes;
    return bytes > limits->output_bytes / limits->output_factor ? limits->output_bytes : bytes * limits->output_factor;
}

static void begin(xmlc14n *c, xmlc14n_text document, const xmlc14n_options *options, xmlc14n_output *out,
                  xmlc14n_result *result) {
    memset(result, 0, sizeof *result);
    c->document = document.bytes;
    c->end = document.bytes + document.n;
    c->options = options;
    c->result = result;
    c->status = XMLC14N_OK;
    c->out = *out;
    c->hidden = false;
    c->drained = 0;
    c->most_bytes = most_bytes(&c->limits, document.n);
    c->held_before = xmlc14n_held_bytes(c);
    cap_output(c);
    c->depth = c->element_number = c->signature_depth = c->match_depth = 0;
    c->nodes = c->further_nodes = 0;
    c->next_omitted = 0;
    c->id_count = c->signature_count = 0;
    if (options->has_apex) hide(c);
}

void xmlc14n_run(xmlc14n *c, xmlc14n_text document, const xmlc14n_options *options, xmlc14n_output *out,
                 xmlc14n_result *result) {
    begin(c, document, options, out, result);
    if (namespaces_begin(c) && search_begin(c) && scan_document(c, c->document) && check_ids(c)) search_finish(c);
    if (c->hidden) unhide(c);
    result->canonical_bytes = c->drained + c->out.used;
    result->nodes = c->nodes;
    result->further_nodes = c->further_nodes;
    check_output(c);
    *out = c->out;
    result->status = c->status;
    result->refused_at = c->status == XMLC14N_OK ? 0 : offset_of(c, c->refused_at);
}
