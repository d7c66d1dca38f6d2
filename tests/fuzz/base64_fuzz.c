/* base64: every kernel decodes the same, what is decoded encodes to the same characters again (libFuzzer). */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base64/base64.h"
#include "canary.h"

typedef struct {
    base64_status status;
    size_t written;
    uint8_t *bytes;
} decoded;

static decoded decode(const uint8_t *text, size_t size, const cpu_isa *isa, size_t piece) {
    decoded result = {.bytes = malloc(size + 64)};
    base64_decoder decoder = {0};
    for (size_t at = 0; at < size && !result.status; at += piece) {
        size_t n = size - at < piece ? size - at : piece, taken = 0, written = 0;
        result.status = base64_decode_text(&decoder, base64_kernel_for(isa), text + at, n, result.bytes + result.written,
                                           &taken, &written);
        result.written += written;
    }
    if (!result.status) result.status = base64_decode_end(&decoder);
    return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!size) return 0;
    size_t piece = 1 + data[0];
    data++, size--;
    decoded one = decode(data, size, cpu_isa_best(), size ? size : 1);
    decoded other = decode(data, size, cpu_isa_find("portable"), piece);
    if (one.status != other.status || (!one.status && one.written != other.written)) abort();
    if (!one.status) {
        if (memcmp(one.bytes, other.bytes, one.written)) abort();
        base64_encoder encoder = {0};
        size_t room = base64_encode_size(&encoder, one.written);
        uint8_t *text = malloc(room + 4), *place = text;
        place += base64_encode_update(&encoder, base64_kernel_for(cpu_isa_best()), one.bytes, one.written, text);
        place += base64_encode_finish(&encoder, place);
        size_t at = 0;
        for (size_t i = 0; i < size; i++) {
            if (data[i] == '\r' || data[i] == '\n') continue;
            if (at >= (size_t)(place - text) || text[at++] != data[i]) abort();
        }
        free(text);
    }
    free(one.bytes);
    free(other.bytes);
    canary(data, size);
    return 0;
}
