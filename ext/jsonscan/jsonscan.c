/* Creates, empties and frees a scanner, and answers questions about it. */
#include "jsonscan/jsonscan.h"

#include <stdlib.h>
#include <string.h>

#include "jsonscan/internal.h"

/* Best first. An instruction set uses the first kernel whose needs it fulfils. */
static const struct {
    uint32_t needs;
    const jsonscan_kernel *kernel;
} KERNELS[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &jsonscan_kernel_avx512},
    {CPU_AVX2, &jsonscan_kernel_avx2},
#endif
    {0, &jsonscan_kernel_portable},
};

const jsonscan_kernel *jsonscan_kernel_for(const cpu_isa *isa) {
    size_t i = 0;
    while ((KERNELS[i].needs & ~isa->needs) != 0) i++;
    return KERNELS[i].kernel;
}

const char *jsonscan_kernel_name(const jsonscan_kernel *kernel) { return kernel->name; }

jsonscan *jsonscan_new(const jsonscan_limits *limits, const cpu_isa *isa, const uint64_t seed[2]) {
    jsonscan *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->limits = *limits;
    s->kernel = jsonscan_kernel_for(isa);
    s->base64 = base64_kernel_for(isa);
    memcpy(s->seed, seed, sizeof s->seed);
    s->frames = calloc(limits->max_depth, sizeof *s->frames);
    if (!s->frames) {
        free(s);
        return NULL;
    }
    return s;
}

void jsonscan_free(jsonscan *s) {
    if (!s) return;
    for (size_t i = 0; i < s->finished_count; i++) docbuffer_free(s->finished[i].content);
    docbuffer_free(s->content);
    while (s->depth) keys_close(s, &s->frames[--s->depth]);
    free(s->finished);
    free(s->frames);
    free(s->keys.data);
    free(s->request_text.data);
    free(s->document_text.data);
    free(s->place.data);
    free(s->message.data);
    free(s);
}

jsonscan_document *jsonscan_documents(jsonscan *s, size_t *n) {
    *n = s->finished_count;
    return s->finished;
}

const uint8_t *jsonscan_text(const jsonscan *s) { return s->document_text.data; }

void jsonscan_clear(jsonscan *s) {
    for (size_t i = 0; i < s->finished_count; i++) docbuffer_free(s->finished[i].content);
    s->finished_count = 0;
    if (!s->document_start) return;
    s->document_text.used -= s->document_start;
    memmove(s->document_text.data, s->document_text.data + s->document_start, s->document_text.used);
    s->document_start = 0;
}

const jsonscan_failure *jsonscan_get_failure(const jsonscan *s) { return &s->failure; }

const uint8_t *jsonscan_request(const jsonscan *s, size_t *n) {
    *n = s->request_text.used;
    return s->request_text.data;
}

uint64_t jsonscan_documents_seen(const jsonscan *s) { return s->documents_begun; }
uint64_t jsonscan_bytes_seen(const jsonscan *s) { return s->piece_offset; }
