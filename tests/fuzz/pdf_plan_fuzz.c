/* Mutates PDFs and plans each: gcc -fsanitize=address,undefined, or libFuzzer with -DLIBFUZZER.
 *     pdf_plan_fuzz SECONDS SEED FILE...
 * Ends with a line "runs planned refused slowest_ms"; anything else is a finding. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "canary.h"
#include "pdfscan/pdf_plan.h"

static const char REASON[] = "Motivo (\xc3\xa9)", TIME[] = "D:20261121120000Z", FIELD[] = "p.s";
static const char FORM[] = "/Subtype/Form/Resources<</XObject<</I0 \1B>>>>/Name\2a(b\2", IMAGE[] = "/Subtype/Image/SMask \1A";
static uint8_t pixels[5000];

static pdf_span span_of(const void *bytes, size_t length) { return (pdf_span){bytes, (const uint8_t *)bytes + length}; }

/* Whether a section follows depends on the length, so that every input is tried with and without one by a byte at its end. */
static pdf_refusal plan_with(const uint8_t *data, size_t size, const pdf_unlock *unlock, const pdf_appearance *appearance, pdf_plan *plan, pdf_arena *arena) {
    pdf_plan_request request = {
        .appearance = appearance,
        .contents_bytes = 4096,
        .reason = {(const uint8_t *)REASON, sizeof REASON - 1},
        .time = {(const uint8_t *)TIME, sizeof TIME - 1},
        .has_section = size % 8 > 1,
        .has_time_stamp = size % 8 > 3,
        .digest_method = "SHA256",
        .limits = {.file_bytes = 1u << 30, .inflate_bytes = 8u << 20, .objects = 200000, .depth = 64, .sections = 1024},
        .unlock = unlock,
    };
    /* Half of the inputs are signed in a field that they must have. */
    if (size % 2) request.field = (pdf_text){(const uint8_t *)FIELD, sizeof FIELD - 1};
    return pdf_plan_update(data, size, &request, arena, plan);
}

/* The key of all encrypted samples: what the document says of passwords is not the planner's to check. */
static pdf_unlock unlock_of(const pdf_encryption *encryption) {
    pdf_unlock unlock = {.strings = encryption->strings, .streams = encryption->streams, .seed = "sixteen bytes..."};
    unlock.key_bytes = encryption->version == 5 ? 32 : encryption->version == 4 ? 16 : 5;
    for (uint8_t i = 0; i < sizeof unlock.key; i++) unlock.key[i] = (uint8_t)('A' + i);
    return unlock;
}

/* Plans an encrypted document again, with its key. `*shares` says whether its streams are clear, so that data can be shared. */
static pdf_refusal plan_once(const uint8_t *data, size_t size, const pdf_appearance *appearance, pdf_plan *plan, pdf_arena *arena, bool *shares) {
    pdf_refusal refusal = plan_with(data, size, NULL, appearance, plan, arena);
    *shares = true;
    if (refusal != PDF_REFUSE_ENCRYPTED) return refusal;
    pdf_unlock unlock = unlock_of(&plan->encryption);
    *shares = unlock.streams == PDF_NOT_ENCRYPTED;
    pdf_arena_free(arena);
    refusal = plan_with(data, size, &unlock, appearance, plan, arena);
    if (refusal == PDF_REFUSE_ENCRYPTED) abort();
    return refusal;
}

/* Writes the planned section, and looks at what must be true of it. */
static void write_section(const pdf_plan *plan, size_t size) {
    static const uint8_t SOME[] = "material";
    const pdf_material materials[2] = {{SOME, sizeof SOME - 1, false}, {SOME, 4, true}};
    const pdf_material_list lists[PDF_MATERIALS] = {{materials, 2}, {materials, 1}, {materials, 0}};
    pdf_arena arena = {0};
    pdf_buffer head, rest;
    uint64_t start = size - plan->skipped_bytes + plan->head.length + plan->reserved_bytes + plan->tail.length + plan->inserted_bytes;
    pdf_refusal refusal = pdf_write_section(&plan->section, (pdf_text){plan->tail.bytes, plan->tail.length}, lists, 1000, &arena, &head, &rest);
    if (refusal || plan->section.start != start || rest.length < 6 || memcmp(rest.bytes + rest.length - 6, "%%EOF\n", 6) != 0) abort();
    if ((head.length > 0) != plan->section.has_time_stamp) abort();
    pdf_arena_free(&arena);
}

/* A byte of the texts of a request, or of its appearance, takes four at most. */
enum { TEXT_FACTOR = 4 };

/* The lengths of what was planned fit together, and are within the bound that callers book. */
static void check_lengths(size_t size, size_t own_bytes, const pdf_plan *plan) {
    if (plan->byte_range[1] != size - plan->skipped_bytes + plan->head.length) abort();
    if (plan->byte_range[3] != plan->tail.length + plan->inserted_bytes) abort();
    size_t section = plan->section.objects.length + plan->section.rows.length + plan->section.others.length + plan->section.cipher.length;
    if (plan->head.length + plan->tail.length + section > pdf_update_bound(size) + TEXT_FACTOR * (own_bytes + sizeof REASON + sizeof TIME - 2)) abort();
    for (unsigned i = 0; i < plan->inserted_count; i++)
        if (plan->inserted[i].offset > plan->tail.length || (i && plan->inserted[i].offset < plan->inserted[i - 1].offset)) abort();
}

/* Plans a visible signature on a page and in a place that the data choose, with the rules that the document demands. */
static void plan_visible(const uint8_t *data, size_t size) {
    const pdf_drawn_object objects[] = {
        {span_of(FORM, sizeof FORM - 1), span_of("q Q", 3), true, false},
        {span_of(IMAGE, sizeof IMAGE - 1), span_of(pixels, sizeof pixels), true, true},
        {span_of("/Type/Font/Next \1B", 18), {0}, false, false},
    };
    uint8_t chosen = size ? data[size / 2] : 0;
    pdf_appearance appearance = {
        .objects = objects, .count = 3, .page = 1u + (chosen & 1), .x = chosen, .y = chosen / 4.0,
        .is_upper_left = chosen & 2, .yields = chosen & 4, .width = 20, .height = 10};
    for (unsigned tries = 0;; tries++) {
        pdf_arena arena = {0};
        pdf_plan plan;
        bool shares;
        pdf_refusal refusal = plan_once(data, size, &appearance, &plan, &arena, &shares);
        if (!refusal) check_lengths(size, sizeof FORM + sizeof IMAGE + 18 + 3 + (shares ? 0 : sizeof pixels), &plan);
        if (!refusal && plan.section.start) write_section(&plan, size);
        /* A field that has an appearance, or no area, may be left as it is. */
        if (!refusal && shares && !(size % 2 && !plan.inserted_count) && (plan.inserted_count != 1 || plan.inserted_bytes != sizeof pixels)) abort();
        if (!refusal && !shares && plan.inserted_count) abort();
        pdf_arena_free(&arena);
        if (refusal != PDF_REFUSE_OTHER_RULES && refusal != PDF_REFUSE_OTHER_AREA) return;
        if (tries > 1 || plan.rules > 7) abort(); /* a document demands the same each time */
        if (refusal == PDF_REFUSE_OTHER_RULES)
            appearance.rules = plan.rules;
        else
            appearance.width = plan.area_width, appearance.height = plan.area_height;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pdf_arena arena = {0};
    pdf_plan plan;
    uint8_t *copy = malloc(size ? size : 1); /* its own block, so that a read beyond the end is seen */
    memcpy(copy, data, size);
    bool shares;
    pdf_refusal refusal = plan_once(copy, size, NULL, &plan, &arena, &shares);
    if (!refusal) check_lengths(size, 0, &plan);
    if (!refusal && plan.inserted_count) abort();
    if (refusal && !*pdf_refusal_message(refusal)) abort();
    if (!refusal && plan.section.start) write_section(&plan, size);
    pdf_arena_free(&arena);
    plan_visible(copy, size);
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
                                    "/Length 9 0 R", "/Fields[2 0 R]", "/Annots 3 0 R", "/T(s)", "/FT/Sig", "/Lock 8 0 R", "/SV 11 0 R", "0000000000 65535 f", "%",
                                    "/DSS 5 0 R",   "/DSS<<",         "/Certs[3 0 R]",   "/VRI 1 0 R", "/Extensions 7 0 R", "/ESIC",
                                    "/Rotate 90", "/CropBox[1 2 33 44]", "/MediaBox[0 0 99999999999 9]", "/UserUnit 1.5", "/OutputIntents[9 0 R]", "/Metadata 9 0 R", "pdfaid:part='1'", "/Parent 2 0 R",
                                    "/Encrypt 9 0 R", "/Identity", "/V 2/R 3", "/AESV2", "/Filter/Crypt"};

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
