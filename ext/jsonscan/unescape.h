/* The loop of unescape() for every kernel. Each kernel includes it and adds its own copy_run(), which is inlined,
 * because escapes are often close together. */
#ifndef BATCHSEAL_JSONSCAN_UNESCAPE_H
#define BATCHSEAL_JSONSCAN_UNESCAPE_H

#include <string.h>

#include "jsonscan/kernel.h"

/* Copies the bytes before the first '"' or '\' and returns their number. dst must have room for n + JSONSCAN_COPY_SLACK
 * bytes. */
static inline size_t copy_run(const uint8_t *src, size_t n, uint8_t *dst);

/* The character with this code of four hexadecimal digits if it is '+', '/' or '=', which some encoders escape; else
 * -1. */
static inline int base64_by_code(const uint8_t *digits) {
    if (digits[0] != '0' || digits[1] != '0') return -1;
    uint8_t last = digits[3] | 0x20;
    if (digits[2] == '2') return last == 'b' ? '+' : last == 'f' ? '/' : -1;
    return digits[2] == '3' && last == 'd' ? '=' : -1;
}

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
        if (escaped == 'u') {
            int c = n - at >= 6 ? base64_by_code(src + at + 2) : -1;
            if (c < 0) break;
            dst[out++] = (uint8_t)c;
            at += 6;
            continue;
        }
        if (escaped == '/') dst[out++] = '/';
        else if (escaped != 'r' && escaped != 'n') break;
        at += 2;
    }
    *written = out;
    return at;
}

#endif
