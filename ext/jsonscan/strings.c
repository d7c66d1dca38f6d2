/* Reads strings (RFC 8259 section 7) in UTF-8 (RFC 3629). A skeleton keeps a string as it is in the body, with its
 * escapes. Keys and base64 content (content.c) are unescaped as well. */
#include "jsonscan/internal.h"

#include <string.h>

static const uint8_t *fail(jsonscan *s, const uint8_t *p, const char *what) {
    return scan_fail(s, JSONSCAN_SYNTAX, scan_offset(s, p), what);
}

/* Adds bytes of the string to the skeleton as they are. Content does not go into the skeleton. */
static bool keep(jsonscan *s, const uint8_t *p, size_t n) { return s->sink == SINK_CONTENT || scan_emit(s, p, n); }

static const uint8_t *fail_key_memory(jsonscan *s) {
    return scan_fail(s, JSONSCAN_MEMORY, s->string_offset, "no memory for the keys");
}

static bool add_to_key(jsonscan *s, const uint8_t *bytes, size_t n) {
    if (s->sink != SINK_KEY || keys_add(s, bytes, n)) return true;
    fail_key_memory(s);
    return false;
}

static const uint8_t *end_string(jsonscan *s, const uint8_t *p) {
    if (!keep(s, p, 1)) return s->piece_end;
    if (s->sink == SINK_TEXT) {
        scan_value_done(s);
    } else {
        keys_status status = keys_end(s);
        if (status == KEYS_DUPLICATE) return scan_fail_key(s);
        if (status == KEYS_NO_MEMORY) return fail_key_memory(s);
        s->state = STATE_COLON;
    }
    return p + 1;
}

const uint8_t *scan_string(jsonscan *s, const uint8_t *p) {
    size_t n = s->kernel->plain_run(p, (size_t)(s->piece_end - p));
    if (n > 0) {
        if (!keep(s, p, n) || !add_to_key(s, p, n)) return s->piece_end;
        p += n;
        if (p == s->piece_end) return p;
    }
    if (*p == '"') return end_string(s, p);
    if (*p == '\\') {
        if (!keep(s, p, 1)) return s->piece_end;
        s->escape_offset = scan_offset(s, p);
        s->state = STATE_ESCAPE;
        return p + 1;
    }
    if (*p < 0x20) return fail(s, p, "a control character in a string");
    s->utf8_left = 0;
    s->state = STATE_UTF8;
    return p;
}

/* The first byte of a character tells how many bytes follow, and bounds the second one (RFC 3629 section 4). */
static bool utf8_begin(jsonscan *s, uint8_t c) {
    s->utf8_low = 0x80;
    s->utf8_high = 0xbf;
    if (c >= 0xc2 && c <= 0xdf) {
        s->utf8_left = 1;
    } else if (c >= 0xe0 && c <= 0xef) {
        s->utf8_left = 2;
        if (c == 0xe0) s->utf8_low = 0xa0;
        if (c == 0xed) s->utf8_high = 0x9f;
    } else if (c >= 0xf0 && c <= 0xf4) {
        s->utf8_left = 3;
        if (c == 0xf0) s->utf8_low = 0x90;
        if (c == 0xf4) s->utf8_high = 0x8f;
    } else {
        return false;
    }
    return true;
}

/* Reads characters beyond ASCII until an ASCII character comes. */
const uint8_t *scan_utf8(jsonscan *s, const uint8_t *p) {
    const uint8_t *from = p;
    bool valid = true;
    for (; p < s->piece_end; p++) {
        if (s->utf8_left == 0) {
            if (*p < 0x80) break;
            valid = utf8_begin(s, *p);
        } else {
            valid = *p >= s->utf8_low && *p <= s->utf8_high;
            s->utf8_left--;
            s->utf8_low = 0x80;
            s->utf8_high = 0xbf;
        }
        if (!valid) break;
    }
    size_t n = (size_t)(p - from);
    if (!keep(s, from, n) || !add_to_key(s, from, n)) return s->piece_end;
    if (!valid) return scan_fail(s, JSONSCAN_UTF8, scan_offset(s, p), "not valid UTF-8");
    if (p < s->piece_end) s->state = STATE_STRING;
    return p;
}

static size_t utf8_encode(uint32_t code, uint8_t out[4]) {
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    size_t n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t lead[5] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, code >>= 6) out[i] = (uint8_t)(0x80 | (code & 0x3f));
    out[0] = (uint8_t)(lead[n] | code);
    return n;
}

/* An escape has ended, and it means the character `code`. */
static const uint8_t *end_escape(jsonscan *s, uint32_t code, const uint8_t *next) {
    if (s->sink == SINK_CONTENT) {
        if (!content_add_escaped(s, code)) return s->piece_end;
        s->state = STATE_CONTENT;
        return next;
    }
    uint8_t bytes[4];
    if (!add_to_key(s, bytes, utf8_encode(code, bytes))) return s->piece_end;
    s->state = STATE_STRING;
    return next;
}

static const uint8_t *fail_surrogate(jsonscan *s) {
    return scan_fail(s, JSONSCAN_UTF8, s->escape_offset, "half of a surrogate pair");
}

/* The four digits of \u are read. They are a character, or the first or second half of a surrogate pair. */
static const uint8_t *end_hex(jsonscan *s, const uint8_t *next) {
    uint32_t code = s->code;
    bool low = code >= 0xdc00 && code <= 0xdfff;
    if (s->high_surrogate) {
        if (!low) return fail_surrogate(s);
        code = 0x10000 + ((s->high_surrogate - 0xd800) << 10) + (code - 0xdc00);
        return end_escape(s, code, next);
    }
    if (low) return fail_surrogate(s);
    if (code < 0xd800 || code > 0xdbff) return end_escape(s, code, next);
    s->high_surrogate = code;
    s->state = STATE_LOW_BACKSLASH;
    return next;
}

static const uint8_t *scan_hex(jsonscan *s, const uint8_t *p) {
    uint8_t c = *p, letter = c | 0x20;
    if (c >= '0' && c <= '9') s->code = s->code << 4 | (c - '0');
    else if (letter >= 'a' && letter <= 'f') s->code = s->code << 4 | (letter - 'a' + 10u);
    else return fail(s, p, "four hexadecimal digits must follow \\u");
    if (!keep(s, p, 1)) return s->piece_end;
    return --s->hex_left ? p + 1 : end_hex(s, p + 1);
}

static const uint8_t *scan_escape_letter(jsonscan *s, const uint8_t *p) {
    static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (*p == 'u') {
        if (!keep(s, p, 1)) return s->piece_end;
        s->high_surrogate = 0;
        s->code = 0;
        s->hex_left = 4;
        s->state = STATE_HEX;
        return p + 1;
    }
    const char *found = *p ? strchr(letters, *p) : NULL;
    if (!found) return fail(s, p, "an unknown escape");
    if (!keep(s, p, 1)) return s->piece_end;
    return end_escape(s, (uint8_t)meanings[found - letters], p + 1);
}

const uint8_t *scan_escape(jsonscan *s, const uint8_t *p) {
    if (s->state == STATE_ESCAPE) return scan_escape_letter(s, p);
    if (s->state == STATE_HEX) return scan_hex(s, p);
    if (*p != (s->state == STATE_LOW_BACKSLASH ? '\\' : 'u')) return fail_surrogate(s);
    if (!keep(s, p, 1)) return s->piece_end;
    s->code = 0;
    s->hex_left = 4;
    s->state = s->state == STATE_LOW_BACKSLASH ? STATE_LOW_U : STATE_HEX;
    return p + 1;
}
