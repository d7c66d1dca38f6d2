/* The canonicaliser: whatever comes, the best kernel and the portable one agree, in pieces of any length, and a canonical
 * form is its own canonical form (libFuzzer). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "canary.h"
#include "xmlc14n/digest.h"

typedef struct {
    uint8_t *bytes;
    size_t n;
} text;

static xmlc14n_status collect(xmlc14n_output *out) {
    text *t = out->context;
    t->bytes = realloc(t->bytes, t->n + out->used + 1);
    memcpy(t->bytes + t->n, out->bytes, out->used);
    t->n += out->used;
    out->used = 0;
    return XMLC14N_OK;
}

/* The size of the input chooses what is asked, so that every input can be any. */
static xmlc14n_options options_for(size_t size) {
    static const xmlc14n_step STEPS[] = {{{(const uint8_t *)"a", 1}, {(const uint8_t *)"*", 1}, 0},
                                         {{NULL, 0}, {(const uint8_t *)"b", 1}, 2}};
    static const xmlc14n_text INCLUSIVE[] = {{(const uint8_t *)"", 0}, {(const uint8_t *)"a", 1}};
    static const uint64_t OMITTED[] = {3, 40, 41, 100};
    return (xmlc14n_options){
        .steps = STEPS,
        .step_count = size % 3,
        .anywhere = size & 1,
        .with_comments = size & 2,
        .without_signatures = size & 4,
        .inclusive = INCLUSIVE,
        .inclusive_count = size & 8 ? 2 : 0,
        .omitted = OMITTED,
        .omitted_count = size & 16 ? 4 : 0,
        .has_apex = (size & 96) == 96,
        .apex = size % 50,
    };
}

static text run(const uint8_t *data, size_t size, const cpu_isa *isa, const xmlc14n_options *options, size_t capacity,
                xmlc14n_result *result) {
    const xmlc14n_limits limits = {
        .depth = 32,
        .attributes = 100,
        .namespaces = 100,
        .nodes = 20000,
        .further_nodes = 1 << 20,
        .attribute_namespaces = 20,
        .tag_bytes = 1 << 20,
        .output_bytes = 1 << 22,
        .output_factor = 64,
        .memory_bytes = 1 << 24,
    };
    xmlc14n *c = xmlc14n_new(&limits, isa, 12345);
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that a read beyond the end is seen */
    if (size) memcpy(copy, data, size);
    text found = {NULL, 0};
    xmlc14n_output out = {malloc(capacity), 0, capacity, collect, &found};
    xmlc14n_run(c, (xmlc14n_text){copy, size}, options, &out, result);
    if (collect(&out) != XMLC14N_OK) abort();
    if (result->status == XMLC14N_OK) {
        if (found.n != result->canonical_bytes || !result->root.n || result->place > size) abort();
        for (size_t i = 0; i < result->signature_count; i++)
            if (result->signatures[i][0] >= result->signatures[i][1] || result->signatures[i][1] > size) abort();
    } else if (result->refused_at > size || !*xmlc14n_status_message(result->status)) {
        abort();
    }
    free(out.bytes);
    free(copy);
    xmlc14n_reset(c);
    xmlc14n_free(c);
    return found;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const xmlc14n_options options = options_for(size), whole = {.with_comments = true, .any_encoding = true};
    xmlc14n_result results[3];
    text best = run(data, size, cpu_isa_best(), &options, 1 << 20, &results[0]);
    text portable = run(data, size, cpu_isa_find("portable"), &options, XMLC14N_ROOM + size % 1000, &results[1]);
    if (results[0].status != results[1].status || results[0].refused_at != results[1].refused_at) abort();
    if (results[0].status == XMLC14N_OK) {
        if (best.n != portable.n || memcmp(best.bytes, portable.bytes, best.n) != 0) abort();
        if (results[0].place != results[1].place || results[0].match_count != results[1].match_count) abort();
    }
    free(best.bytes);
    free(portable.bytes);
    text once = run(data, size, cpu_isa_best(), &whole, 1 << 20, &results[0]);
    if (results[0].status == XMLC14N_OK) {
        text again = run(once.bytes, once.n, cpu_isa_best(), &whole, XMLC14N_ROOM, &results[1]);
        if (results[1].status != XMLC14N_OK || again.n != once.n || memcmp(again.bytes, once.bytes, once.n) != 0) abort();
        free(again.bytes);
    }
    free(once.bytes);
    canary(data, size);
    return 0;
}
