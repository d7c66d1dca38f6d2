/* Mutates PDFs and plans each: gcc -fsanitize=address,undefined, or libFuzzer with -DLIBFUZZER.
 *     pdf_plan_fuzz SECONDS SEED FILE...
 * Ends with a line "runs planned refused slowest_ms"; anything else is a finding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "canary.h"
#include "pdfscan/pdf_plan.h"

/* Whether a section follows depends on the length, so that every input is tried with and without one by a byte at its end. */
static pdf_refusal plan_once(const uint8_t *data, size_t size, pdf_plan *plan, pdf_arena *arena) {
    static const char REASON[] = "Motivo (\xc3\xa9)", TIME[] = "D:20261121120000Z";
    pdf_plan_request request = {
        .contents_bytes = 4096,
        .reason = {(const uint8_t *)REASON, sizeof REASON - 1},
        .time = {(const uint8_t *)TIME, sizeof TIME - 1},
        .has_section = size % 4 != 0,
        .has_time_stamp = size % 4 > 1,
        .limits = {.file_bytes = 1u << 30, .inflate_bytes = 8u << 20, .objects = 200000, .depth = 64, .sections = 1024},
    };
    return pdf_plan_update(data, size, &request, arena, plan);
}

/* A byte of the texts of a request takes four at most. */
enum { TEXT_FACTOR = 4, TEXT_BYTES = 64 };

/* Writes the planned section, and looks at what must be true of it. */
static void write_section(const pdf_plan *plan, size_t size) {
    static const uint8_t SOME[] = "material";
    const pdf_material materials[2] = {{SOME, sizeof SOME - 1, false}, {SOME, 4, true}};
    const pdf_material_list lists[PDF_MATERIALS] = {{materials, 2}, {materials, 1}, {materials, 0}};
    pdf_arena arena = {0};
    pdf_buffer head, rest;
    uint64_t start = size + plan->head.length + plan->reserved_bytes + plan->tail.length;
    pdf_refusal refusal = pdf_write_section(&plan->section, (pdf_text){plan->tail.bytes, plan->tail.length}, lists, 1000, &arena, &head, &rest);
    if (refusal || plan->section.start != start || rest.length < 6 || memcmp(rest.bytes + rest.length - 6, "%%EOF\n", 6) != 0) abort();
    if ((head.length > 0) != plan->section.has_time_stamp) abort();
    pdf_arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pdf_arena arena = {0};
    pdf_plan plan;
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that a read beyond the end is seen */
    memcpy(copy, data, size);
    pdf_refusal refusal = plan_once(copy, size, &plan, &arena);
    if (!refusal && plan.byte_range[1] != size + plan.head.length) abort();
    if (refusal && !*pdf_refusal_message(refusal)) abort();
    size_t planned = plan.head.length + plan.tail.length + plan.section.objects.length + plan.section.rows.length + plan.section.others.length;
    if (!refusal && planned > pdf_update_bound(size) + TEXT_FACTOR * TEXT_BYTES) abort();
    if (!refusal && plan.section.start) write_section(&plan, size);
    pdf_arena_free(&arena);
    free(copy);
    canary(data, size);
#ifdef LIBFUZZER
    return 0;
#else
    return refusal ? 0 : 1;
#endif
}

#ifndef LIBFUZZER
typedef struct {
    uint8_t *bytes;
    size_t size;
} sample;

static uint64_t state;

static uint64_t draw(uint64_t below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return below ? state % below : 0;
}

static const char *const WORDS[] = {"/Prev 0",     "/Kids[1 0 R]", "999999999999", "-1",   "4294967295", "obj",       "endobj",   "<<", ">>",    "[",        "]",
                                    "(",           "<",            "stream\n",     "xref", "trailer",    "startxref", "/W[0 0 0]", "1 0 R", "/Index[0 8388607]", "/XRefStm 9",
                                    "/Length 9 0 R", "/Fields[2 0 R]", "/Annots 3 0 R", "0000000000 65535 f", "%",
                                    "/DSS 5 0 R",   "/DSS<<",         "/Certs[3 0 R]",   "/VRI 1 0 R", "/Extensions 7 0 R", "/ESIC"};

static size_t mutate(uint8_t *data, size_t size, size_t room, const sample *other) {
    for (uint64_t n = 1 + draw(6); n--;) {
        size_t at = draw(4) ? draw(size) : size - 1 - draw(size < 700 ? size : 700), length = 1 + draw(40);
        const char *word = WORDS[draw(sizeof WORDS / sizeof *WORDS)];
        if (size < 2) return size;
        if (length > size - at) length = size - at;
        switch (draw(7)) {
            case 0: data[at] = (uint8_t)draw(256); break;
            case 1: data[at] ^= (uint8_t)(1u << draw(8)); break;
            case 2: if (strlen(word) <= size - at) memcpy(data + at, word, strlen(word)); break;
            case 3: memmove(data + at, data + at + length, size - at - length); size -= length; break;
            case 4: if (size + length <= room) memmove(data + at + length, data + at, size - at), size += length; break;
            case 5: for (size_t i = at; i < at + length; i++) if (data[i] >= '0' && data[i] <= '9') data[i] = (uint8_t)('0' + draw(10)); break;
            default: {
                size_t from = draw(other->size);
                if (length > other->size - from) length = other->size - from;
                memcpy(data + at, other->bytes + from, length);
            }
        }
        if (draw(40) == 0) size = 1 + draw(size);
    }
    return size;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    size_t n = 0, largest = 0;
    sample *samples = calloc((size_t)argc, sizeof *samples);
    for (int i = 3; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (!file) return 2;
        fseek(file, 0, SEEK_END);
        samples[n].size = (size_t)ftell(file);
        rewind(file);
        samples[n].bytes = malloc(samples[n].size + 1);
        if (samples[n].size < 100000 && fread(samples[n].bytes, 1, samples[n].size, file) == samples[n].size && samples[n].size) {
            if (samples[n].size > largest) largest = samples[n].size;
            n++;
        } else {
            free(samples[n].bytes);
        }
        fclose(file);
    }
    uint8_t *work = malloc(largest * 2);
    state = strtoull(argv[2], NULL, 10) * 2654435761u + 88172645463325252u;
    double end = now() + atof(argv[1]), slowest = 0;
    unsigned long runs = 0, planned = 0;
    while (now() < end) {
        const sample *base = &samples[draw(n)];
        memcpy(work, base->bytes, base->size);
        size_t size = mutate(work, base->size, largest * 2, &samples[draw(n)]);
        double start = now();
        planned += (unsigned long)LLVMFuzzerTestOneInput(work, size);
        double took = now() - start;
        if (took > slowest) slowest = took;
        if (took > 2) {
            FILE *file = fopen("slow.pdf", "wb");
            fwrite(work, 1, size, file);
            fclose(file);
        }
        runs++;
    }
    while (n) free(samples[--n].bytes);
    free(samples);
    free(work);
    printf("runs %lu planned %lu refused %lu slowest_ms %.1f\n", runs, planned, runs - planned, slowest * 1e3);
    return 0;
}
#endif
