/* One message piece by piece, in one lane of the kernel that an engine drains to. */
#include "mbsha256/stream.h"

#include <string.h>

#include "mbsha256/engines.h"

enum { BLOCK = MBSHA256_BLOCK_BYTES };

static void compress(const mbsha256_engine *engine, uint32_t words[8], const uint8_t *blocks, size_t count) {
    _Alignas(MBSHA256_SCRATCH_ALIGN) uint32_t state[8 * MBSHA256_MAX_LANES];
    const mbsha256_kernel *kernel = mbsha256_last_kernel(engine);
    const uint8_t *data[MBSHA256_MAX_LANES];
    if (count == 0) return;
    for (size_t i = 0; i < kernel->lanes; i++) data[i] = blocks;
    for (size_t w = 0; w < 8; w++) state[w * kernel->word_stride] = words[w];
    kernel->compress(state, data, 1, count);
    for (size_t w = 0; w < 8; w++) words[w] = state[w * kernel->word_stride];
}

void mbsha256_stream_begin(mbsha256_stream *s) {
    memset(s, 0, sizeof *s);
    memcpy(s->state, mbsha256_initial_state, sizeof s->state);
}

void mbsha256_stream_add(const mbsha256_engine *engine, mbsha256_stream *s, const uint8_t *data, size_t n) {
    size_t held = s->bytes % BLOCK;
    if (n == 0) return;
    s->bytes += n;
    if (held) {
        size_t take = n < BLOCK - held ? n : BLOCK - held;
        memcpy(s->rest + held, data, take);
        if (held + take < BLOCK) return;
        compress(engine, s->state, s->rest, 1);
        data += take;
        n -= take;
    }
    compress(engine, s->state, data, n / BLOCK);
    if (n % BLOCK) memcpy(s->rest, data + n / BLOCK * BLOCK, n % BLOCK);
}

void mbsha256_stream_digest(const mbsha256_engine *engine, const mbsha256_stream *s,
                            uint8_t digest[MBSHA256_DIGEST_BYTES]) {
    uint8_t last[2 * BLOCK] = {0};
    uint32_t words[8];
    size_t held = s->bytes % BLOCK, blocks = held + 1 + 8 <= BLOCK ? 1 : 2;
    uint64_t bits = s->bytes * 8;
    memcpy(words, s->state, sizeof words);
    memcpy(last, s->rest, held);
    last[held] = 0x80; /* FIPS 180-4 5.1.1 */
    for (size_t i = 1; i <= 8; i++, bits >>= 8) last[blocks * BLOCK - i] = (uint8_t)bits;
    compress(engine, words, last, blocks);
    for (size_t i = 0; i < MBSHA256_DIGEST_BYTES; i++) digest[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
}
