/* Encodes text in one of the two forms that every PDF reader knows. */
#include "pdfscan/pdf_text.h"

enum { REPLACEMENT = 0xfffd };

/* Reads one code point. Malformed UTF-8 gives U+FFFD. */
static uint32_t next_point(const uint8_t **cursor, const uint8_t *end) {
    const uint8_t *at = *cursor;
    uint32_t c = *at++;
    unsigned more = c < 0x80 ? 0 : c >= 0xc2 && c < 0xe0 ? 1 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xf0 && c < 0xf5 ? 3 : 4;
    *cursor = at;
    if (more == 0) return c;
    if (more == 4 || (size_t)(end - at) < more) return REPLACEMENT;
    c &= 0x3fu >> more;
    for (unsigned i = 0; i < more; i++) {
        if ((at[i] & 0xc0) != 0x80) return REPLACEMENT;
        c = c << 6 | (at[i] & 0x3f);
    }
    if ((more == 2 && c < 0x800) || (more == 3 && (c < 0x10000 || c > 0x10ffff)) || (c >= 0xd800 && c < 0xe000)) return REPLACEMENT;
    *cursor = at + more;
    return c;
}

/* Whether PDFDocEncoding has the same code for a character as Unicode (annex D.2). In PDFDocEncoding 0xAD is not
 * assigned and 0xA0 is the euro sign. Control characters are left out, because readers treat them differently. */
static bool in_doc_encoding(uint32_t c) {
    return (c >= 0x20 && c < 0x7f) || (c > 0xa0 && c <= 0xff && c != 0xad);
}

/* Whether readers would take a string with these first characters for UTF-16 or UTF-8. */
static bool looks_marked(uint32_t first, uint32_t second, uint32_t third) {
    return (first == 0xfe && second == 0xff) || (first == 0xff && second == 0xfe) || (first == 0xef && second == 0xbb && third == 0xbf);
}

static void put_octal(pdf_buffer *out, uint32_t c) {
    char escape[4] = {'\\', (char)('0' + (c >> 6)), (char)('0' + (c >> 3 & 7)), (char)('0' + (c & 7))};
    pdf_put(out, escape, 4);
}

static void put_unit(pdf_buffer *out, uint32_t unit) {
    static const char HEX[] = "0123456789ABCDEF";
    char digits[4] = {HEX[unit >> 12 & 15], HEX[unit >> 8 & 15], HEX[unit >> 4 & 15], HEX[unit & 15]};
    pdf_put(out, digits, 4);
}

/* Whether PDFDocEncoding has all characters of the text, and readers would not take it for another encoding. */
static bool is_simple(pdf_text text) {
    const uint8_t *at = text.utf8, *end = text.utf8 + text.bytes;
    uint32_t first[3] = {0, 0, 0};
    bool simple = true;
    for (unsigned n = 0; at < end && simple; n++) {
        uint32_t c = next_point(&at, end);
        simple = in_doc_encoding(c);
        if (n < 3) first[n] = c;
    }
    return simple && !looks_marked(first[0], first[1], first[2]);
}

void pdf_put_text(pdf_buffer *out, pdf_text text) {
    const uint8_t *at = text.utf8, *end = text.utf8 + text.bytes;
    bool simple = is_simple(text);
    pdf_puts(out, simple ? "(" : "<FEFF");
    for (at = text.utf8; at < end;) {
        uint32_t c = next_point(&at, end);
        char plain = (char)c;
        if (!simple) {
            if (c > 0xffff) put_unit(out, 0xd800 + ((c - 0x10000) >> 10));
            put_unit(out, c > 0xffff ? 0xdc00 + (c & 0x3ff) : c);
        } else if (c > 0x7e) {
            put_octal(out, c);
        } else {
            if (c == '(' || c == ')' || c == '\\') pdf_puts(out, "\\");
            pdf_put(out, &plain, 1);
        }
    }
    pdf_puts(out, simple ? ")" : ">");
}

void pdf_put_text_bytes(pdf_buffer *out, pdf_text text) {
    const uint8_t *end = text.utf8 + text.bytes;
    bool simple = is_simple(text);
    if (!simple) pdf_put(out, "\xfe\xff", 2);
    for (const uint8_t *at = text.utf8; at < end;) {
        uint32_t c = next_point(&at, end), units[2] = {c, 0};
        bool is_pair = c > 0xffff;
        if (is_pair) units[0] = 0xd800 + ((c - 0x10000) >> 10), units[1] = 0xdc00 + (c & 0x3ff);
        for (unsigned i = 0; i <= is_pair; i++) {
            uint8_t unit[2] = {(uint8_t)(units[i] >> 8), (uint8_t)units[i]};
            pdf_put(out, unit + simple, 2u - simple);
        }
    }
}
