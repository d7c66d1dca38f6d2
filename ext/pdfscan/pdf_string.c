/* String objects and their bytes. */
#include "pdfscan/pdf_string.h"

#include <string.h>

static size_t decode_hex(pdf_span value, uint8_t *out, size_t room) {
    size_t n = 0;
    int high = -1;
    for (const uint8_t *at = value.at + 1; at < value.end && *at != '>' && n < room; at++) {
        int digit = pdf_hex_digit(*at);
        if (digit < 0) continue;
        if (high >= 0) out[n++] = (uint8_t)(high << 4 | digit);
        high = high < 0 ? digit : -1;
    }
    if (high >= 0 && n < room) out[n++] = (uint8_t)(high << 4);
    return n;
}

/* The byte that an escape means; `*at` is on the character behind the backslash, and is moved to the escape's last one.
 * Returns -1 where it means none: a line is continued. */
static int escaped(const uint8_t **at, const uint8_t *end) {
    static const char LETTERS[] = "nrtbf", MEANT[] = "\n\r\t\b\f";
    uint8_t c = **at;
    const char *letter = c ? strchr(LETTERS, c) : NULL;
    if (letter) return (uint8_t)MEANT[letter - LETTERS];
    if (c == '\n') return -1;
    if (c == '\r') {
        if (*at + 1 < end && (*at)[1] == '\n') ++*at;
        return -1;
    }
    if (c < '0' || c > '7') return c;
    unsigned code = 0, digits = 0;
    for (; digits < 3 && *at < end && **at >= '0' && **at <= '7'; digits++) code = code * 8 + (unsigned)(*(*at)++ - '0');
    --*at;
    return (uint8_t)code;
}

size_t pdf_decode_string(pdf_span value, uint8_t *out, size_t room) {
    size_t n = 0;
    if (pdf_kind_of(value) != PDF_STRING) return 0;
    if (*value.at == '<') return decode_hex(value, out, room);
    const uint8_t *end = value.end - 1;
    for (const uint8_t *at = value.at + 1; at < end && n < room; at++) {
        int c = *at;
        if (c == '\\' && at + 1 < end) {
            at++;
            if ((c = escaped(&at, end)) < 0) continue;
        } else if (c == '\r') { /* 7.3.4.2: every line break is a line feed */
            if (at + 1 < end && at[1] == '\n') at++;
            c = '\n';
        }
        out[n++] = (uint8_t)c;
    }
    return n;
}

void pdf_put_hex_string(pdf_buffer *out, const uint8_t *bytes, size_t n) {
    static const char HEX[] = "0123456789ABCDEF";
    if (!pdf_reserve(out, 2 * n + 2)) return;
    uint8_t *at = out->bytes + out->length;
    *at++ = '<';
    for (size_t i = 0; i < n; i++) *at++ = (uint8_t)HEX[bytes[i] >> 4], *at++ = (uint8_t)HEX[bytes[i] & 15];
    *at = '>';
    out->length += 2 * n + 2;
}
