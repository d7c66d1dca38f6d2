/* Characters beyond ASCII: RFC 3629, without those that XML 1.0 2.2 does not allow. */
#ifndef BATCHSEAL_XMLC14N_UTF8_H
#define BATCHSEAL_XMLC14N_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool utf8_follows(uint8_t c) { return (c & 0xc0) == 0x80; }

/* Reads the character at p, whose first byte is beyond ASCII. Returns its length, 2 to 4, or 0 if it is not UTF-8 or
 * not allowed. */
static inline unsigned utf8_character(const uint8_t *p, const uint8_t *end, uint32_t *code) {
    size_t left = (size_t)(end - p);
    uint8_t first = *p;
    if (first < 0xe0) {
        if (first < 0xc2 || left < 2 || !utf8_follows(p[1])) return 0;
        *code = (first & 0x1fu) << 6 | (p[1] & 0x3fu);
        return 2;
    }
    if (first < 0xf0) {
        if (left < 3 || !utf8_follows(p[1]) || !utf8_follows(p[2])) return 0;
        *code = (first & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        /* Not the longer form of a shorter one, no half of a surrogate pair, not U+FFFE or U+FFFF. */
        return *code < 0x800 || (*code >= 0xd800 && *code < 0xe000) || *code >= 0xfffe ? 0 : 3;
    }
    if (first >= 0xf5 || left < 4 || !utf8_follows(p[1]) || !utf8_follows(p[2]) || !utf8_follows(p[3])) return 0;
    *code = (first & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    return *code < 0x10000 || *code > 0x10ffff ? 0 : 4;
}

/* Writes a character, which is allowed. Returns how many bytes, at most 4. */
static inline unsigned utf8_encode(uint32_t code, uint8_t *out) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}

/* The characters of XML 1.0 2.2. */
static inline bool is_character(uint32_t code) {
    if (code < 0x20) return code == '\t' || code == '\n' || code == '\r';
    return code < 0xd800 || (code >= 0xe000 && code < 0xfffe) || (code >= 0x10000 && code <= 0x10ffff);
}

#endif
