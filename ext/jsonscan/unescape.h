/* The loop of every kernel's unescape(), around its own copy_run(): inlined, since escapes come close together. */
#ifndef BATCHSEAL_JSONSCAN_UNESCAPE_H
#define BATCHSEAL_JSONSCAN_UNESCAPE_H

#include <string.h>

#include "jsonscan/kernel.h"

/* Copies up to the first '"' or '\' and returns how many bytes. dst has room for n + JSONSCAN_COPY_SLACK. */
static inline size_t copy_run(const uint8_t *src, size_t n, uint8_t *dst);

static size_t unescape(const uint8_t *src, size_t n, uint8_t *dst, size_t room, size_t *written) {
    size_t at = 0, out = 0;
    for (;;) {
        size_t run = copy_run(src + at, n - at < room - out ? n - at : room - out, dst + out);
        at += run;
        out += run;
        if (out == room || n - at < 2 || src[at] != '\\') break;
        if (n - at >= 4 && memcmp(src + at, "\\r\\n", 4) == 0) {
            at += 4;
            continue;
        }
        uint8_t escaped = src[at + 1];
        if (escaped == '/') dst[out++] = '/';
        else if (escaped != 'r' && escaped != 'n') break;
        at += 2;
    }
    *written = out;
    return at;
}

#endif
