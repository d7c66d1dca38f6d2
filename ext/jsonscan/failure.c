/* Records why the body is refused, where, and in which words. */
#include "jsonscan/internal.h"

#include <stdio.h>
#include <string.h>

const char *jsonscan_kind_name(jsonscan_kind kind) {
    switch (kind) {
    case JSONSCAN_NO_FAILURE: return "none";
    case JSONSCAN_SYNTAX: return "syntax";
    case JSONSCAN_DUPLICATE_KEY: return "duplicate_key";
    case JSONSCAN_WRONG_TYPE: return "wrong_type";
    case JSONSCAN_BASE64: return "base64";
    case JSONSCAN_TRUNCATED: return "truncated";
    case JSONSCAN_DEPTH: return "depth";
    case JSONSCAN_LIMIT_DOCUMENTS: return "limit_documents";
    case JSONSCAN_LIMIT_DOCUMENT_BYTES: return "limit_document_bytes";
    case JSONSCAN_LIMIT_TEXT: return "limit_text";
    case JSONSCAN_UTF8: return "utf8";
    case JSONSCAN_MEMORY: return "memory";
    }
    return "unknown";
}

#define KEY_CHARS 64 /* longest key in a place or a message; longer ones are shortened */

/* Reads the next character of a key. Keys are valid UTF-8: this was checked when they were read. */
static uint32_t next_code(const uint8_t **p) {
    uint8_t first = *(*p)++;
    unsigned more = first < 0xc0 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    uint32_t code = more ? first & (0x3fu >> more) : first;
    while (more--) code = code << 6 | (*(*p)++ & 0x3f);
    return code;
}

static size_t escape_code(char out[13], uint32_t code) {
    if (code == '"' || code == '\\') return (size_t)snprintf(out, 13, "\\%c", (char)code);
    if (code >= 0x20 && code < 0x7f) return (size_t)snprintf(out, 13, "%c", (char)code);
    if (code < 0x10000) return (size_t)snprintf(out, 13, "\\u%04x", (unsigned)code);
    code -= 0x10000;
    return (size_t)snprintf(out, 13, "\\u%04x\\u%04x", 0xd800 + (unsigned)(code >> 10),
                            0xdc00 + (unsigned)(code & 0x3ff));
}

/* Writes a key in ASCII. After KEY_CHARS characters it is cut and "..." is added, but an escape is never cut. */
static void escape_key(char out[KEY_CHARS + 4], const uint8_t *key, size_t n) {
    size_t used = 0;
    const uint8_t *end = key + n;
    out[0] = 0;
    while (key < end) {
        char escaped[13];
        size_t length = escape_code(escaped, next_code(&key));
        if (used + length > KEY_CHARS) {
            strcpy(out + used, "...");
            return;
        }
        strcpy(out + used, escaped);
        used += length;
    }
}

/* Whether the key can be written as `.key`; else it needs `["key"]`. */
static bool is_name(const uint8_t *key, size_t n) {
    for (size_t i = 0; i < n; i++) {
        uint8_t c = key[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && (i == 0 || c < '0' || c > '9')) return false;
    }
    return n > 0 && n <= KEY_CHARS;
}

/* Writes the path of the value that is being read. If memory runs out, the path is cut, but the failure is still
 * reported. */
static void write_place(jsonscan *s) {
    s->place.used = 0;
    for (uint32_t i = 0; i < s->depth && s->frames[i].in_child; i++) {
        const frame *f = &s->frames[i];
        char step[KEY_CHARS + 16], escaped[KEY_CHARS + 4];
        if (f->is_array) {
            snprintf(step, sizeof step, "[%llu]", (unsigned long long)(f->count - 1));
        } else {
            size_t n;
            const uint8_t *key = keys_current(s, f, &n);
            escape_key(escaped, key, n);
            if (!is_name(key, n)) snprintf(step, sizeof step, "[\"%s\"]", escaped);
            else snprintf(step, sizeof step, "%s%s", i ? "." : "", escaped);
        }
        if (!text_append(&s->place, step, strlen(step))) break;
    }
    s->failure.place = text_append(&s->place, "", 1) ? (const char *)s->place.data : "";
}

/* The limit that was exceeded, or NULL if this kind of failure has none. */
static const uint64_t *limit_of(const jsonscan *s, jsonscan_kind kind) {
    switch (kind) {
    case JSONSCAN_DEPTH: return &s->limits.max_depth;
    case JSONSCAN_LIMIT_DOCUMENTS: return &s->limits.max_documents;
    case JSONSCAN_LIMIT_DOCUMENT_BYTES: return &s->limits.max_document_bytes;
    case JSONSCAN_LIMIT_TEXT: return &s->limits.max_skeleton_bytes;
    default: return NULL;
    }
}

static bool say(jsonscan *s, const char *words) { return text_append(&s->message, words, strlen(words)); }

/* Writes: what [of LIMIT] ["key"] at PLACE, byte OFFSET. For a wrong type the place comes first, because it is the
 * subject of the sentence. */
static void write_message(jsonscan *s, const char *what, const char *key) {
    const char *place = s->failure.place;
    bool place_first = s->failure.kind == JSONSCAN_WRONG_TYPE;
    char number[32];
    bool said = true;
    s->message.used = 0;
    if (place_first && *place) said = say(s, place) && say(s, " ");
    said = said && say(s, what);
    const uint64_t *limit = limit_of(s, s->failure.kind);
    if (limit) {
        snprintf(number, sizeof number, " of %llu", (unsigned long long)*limit);
        said = said && say(s, number);
    }
    if (key) said = said && say(s, " \"") && say(s, key) && say(s, "\"");
    if (!place_first) said = said && say(s, " at ") && say(s, *place ? place : "the top level");
    snprintf(number, sizeof number, ", byte %llu", (unsigned long long)s->failure.offset);
    said = said && say(s, number) && text_append(&s->message, "", 1);
    s->failure.message = said ? (const char *)s->message.data : what;
}

static const uint8_t *refuse(jsonscan *s, jsonscan_kind kind, uint64_t offset, const char *what, const char *key) {
    if (s->failure.kind != JSONSCAN_NO_FAILURE) return s->piece_end;
    s->failure = (jsonscan_failure){.kind = kind, .offset = offset, .ordinal = -1};
    if (s->depth > 1 && s->frames[1].role == ROLE_DOCUMENTS && s->frames[1].in_child)
        s->failure.ordinal = (int64_t)(s->frames[1].count - 1);
    write_place(s);
    write_message(s, what, key);
    return s->piece_end;
}

const uint8_t *scan_fail(jsonscan *s, jsonscan_kind kind, uint64_t offset, const char *what) {
    return refuse(s, kind, offset, what, NULL);
}

const uint8_t *scan_fail_key(jsonscan *s) {
    char escaped[KEY_CHARS + 4];
    size_t n;
    const uint8_t *key = keys_open(s, &n);
    escape_key(escaped, key, n);
    return refuse(s, JSONSCAN_DUPLICATE_KEY, s->string_offset, "duplicate key", escaped);
}
