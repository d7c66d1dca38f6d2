/* Reads text strings, whichever encoding they have, and compares names of fields. */
#include "pdfscan/pdf_text_read.h"

#include <string.h>

#include "pdfscan/pdf_crypt.h"

enum { REPLACEMENT = 0xfffd };

/* Annex D.2: the characters of PDFDocEncoding that do not have their Unicode numbers. 0 stands for none. */
static const uint16_t FROM_18[] = {0x2d8, 0x2c7, 0x2c6, 0x2d9, 0x2dd, 0x2db, 0x2da, 0x2dc};
static const uint16_t FROM_80[] = {0x2022, 0x2020, 0x2021, 0x2026, 0x2014, 0x2013, 0x192,  0x2044, 0x2039, 0x203a, 0x2212,
                                   0x2030, 0x201e, 0x201c, 0x201d, 0x2018, 0x2019, 0x201a, 0x2122, 0xfb01, 0xfb02, 0x141,
                                   0x152,  0x160,  0x178,  0x17d,  0x131,  0x142,  0x153,  0x161,  0x17e,  0,      0x20ac};

static uint32_t from_doc_encoding(uint8_t c) {
    if (c >= 0x18 && c < 0x20) return FROM_18[c - 0x18];
    uint32_t point = c >= 0x80 && c <= 0xa0 ? FROM_80[c - 0x80] : c;
    return point == 0 || c == 0x7f || c == 0xad ? REPLACEMENT : point;
}

static void put_point(pdf_buffer *out, uint32_t c) {
    uint8_t bytes[4];
    unsigned n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const uint8_t LEADS[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (unsigned i = n; --i;) bytes[i] = (uint8_t)(0x80 | (c & 0x3f)), c >>= 6;
    bytes[0] = (uint8_t)(LEADS[n] | c);
    pdf_put(out, bytes, n);
}

static void put_utf16(pdf_buffer *out, const uint8_t *at, size_t bytes, unsigned high) {
    for (size_t i = 0; i + 1 < bytes; i += 2) {
        uint32_t c = (uint32_t)at[i + high] << 8 | at[i + 1 - high];
        if (c >= 0xd800 && c < 0xdc00 && i + 3 < bytes) {
            uint32_t low = (uint32_t)at[i + 2 + high] << 8 | at[i + 3 - high];
            if (low >= 0xdc00 && low < 0xe000) c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00), i += 2;
        }
        put_point(out, c >= 0xd800 && c < 0xe000 ? REPLACEMENT : c);
    }
}

bool pdf_append_text(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *scratch, pdf_buffer *out) {
    scratch->length = 0;
    if (!pdf_append_string(doc, holder, value, scratch)) return false;
    const uint8_t *at = scratch->bytes;
    size_t n = scratch->length;
    if (!n) return true;
    bool is_big = n >= 2 && at[0] == 0xfe && at[1] == 0xff, is_little = n >= 2 && at[0] == 0xff && at[1] == 0xfe;
    if (is_big || is_little) {
        put_utf16(out, at + 2, n - 2, is_little);
    } else if (n >= 3 && at[0] == 0xef && at[1] == 0xbb && at[2] == 0xbf) {
        pdf_put(out, at + 3, n - 3);
    } else {
        for (size_t i = 0; i < n; i++) put_point(out, from_doc_encoding(at[i]));
    }
    return !out->failed;
}

bool pdf_is_name_or_below(pdf_text name, pdf_text other) {
    if (other.bytes > name.bytes || (other.bytes && memcmp(name.utf8, other.utf8, other.bytes) != 0)) return false;
    return other.bytes == name.bytes || (other.bytes && name.utf8[other.bytes] == '.');
}
