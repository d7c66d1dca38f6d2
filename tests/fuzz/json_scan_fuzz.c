/* The JSON scanner: whatever comes, in whatever pieces, the best kernel and the portable one agree (libFuzzer). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "canary.h"
#include "jsonscan/jsonscan.h"

typedef struct {
    jsonscan_kind kind;
    uint64_t offset, documents, bytes, digest;
} outcome;

static uint64_t mix(uint64_t digest, const uint8_t *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) digest = (digest ^ bytes[i]) * 1099511628211u;
    return digest;
}

static outcome scan(const uint8_t *data, size_t size, const cpu_isa *isa, size_t piece) {
    const jsonscan_limits limits = {16, 50, 1 << 16, 1 << 16};
    const uint64_t seed[2] = {1, 2};
    jsonscan *scanner = jsonscan_new(&limits, isa, seed);
    outcome result = {.digest = 14695981039346656037u};
    bool going = true;
    for (size_t at = 0; at < size && going; at += piece) {
        size_t n = size - at < piece ? size - at : piece, count;
        uint8_t *copy = malloc(n); /* its own block, so that a read beyond the end is seen */
        memcpy(copy, data + at, n);
        going = jsonscan_feed(scanner, copy, n);
        free(copy);
        jsonscan_document *documents = jsonscan_documents(scanner, &count);
        for (size_t i = 0; i < count; i++) {
            result.digest = mix(result.digest, jsonscan_text(scanner) + documents[i].text_start, documents[i].text_bytes);
            if (documents[i].content) {
                result.digest = mix(result.digest, documents[i].content->data, documents[i].content->used);
                docbuffer_free(documents[i].content);
                documents[i].content = NULL;
            }
        }
        jsonscan_clear(scanner);
    }
    if (going && jsonscan_finish(scanner)) {
        size_t n;
        const uint8_t *request = jsonscan_request(scanner, &n);
        result.digest = mix(result.digest, request, n);
    }
    const jsonscan_failure *failure = jsonscan_get_failure(scanner);
    result.kind = failure->kind;
    result.offset = failure->kind ? failure->offset : 0;
    result.documents = jsonscan_documents_seen(scanner);
    jsonscan_free(scanner);
    if (docbuffer_live()) abort();
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    size_t piece = 1 + data[0];
    data++, size--;
    outcome whole = scan(data, size, cpu_isa_best(), size ? size : 1);
    outcome pieces = scan(data, size, cpu_isa_find("portable"), piece);
    if (whole.kind != pieces.kind || whole.offset != pieces.offset || whole.documents != pieces.documents) abort();
    if (whole.digest != pieces.digest) abort();
    canary(data, size);
    return 0;
}
