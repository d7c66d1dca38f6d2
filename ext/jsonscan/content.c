/* Decodes base64Content while it arrives, directly into the document's buffer. */
#include "jsonscan/internal.h"

#include <string.h>

#define FIRST_GUESS ((size_t)64 << 10)
#define LARGEST_GUESS ((size_t)1 << 20)
#define STRETCH_BYTES 4096 /* how many bytes are unescaped at a time */

static const uint8_t *fail(jsonscan *s, jsonscan_kind kind, const uint8_t *p, const char *what) {
    return scan_fail(s, kind, scan_offset(s, p), what);
}

static const char *const TOO_LARGE = "the document is larger than the limit";

static const char *base64_words(base64_status status) {
    switch (status) {
    case BASE64_FOREIGN_CHARACTER: return "base64 with a character outside the alphabet";
    case BASE64_AFTER_PADDING: return "base64 with data after the padding";
    case BASE64_PADDING_PLACE: return "base64 with padding in the wrong place";
    case BASE64_PADDING_BITS: return "base64 with non-zero bits under the padding";
    case BASE64_PADDING_MISSING: return "base64 without its padding";
    case BASE64_OK: break;
    }
    return "base64";
}

const uint8_t *content_begin(jsonscan *s, const uint8_t *p) {
    if (!scan_emit_instead(s, "true", p)) return s->piece_end;
    /* The documents of a batch often have similar sizes. If the guess is too small, the buffer grows. */
    s->content = docbuffer_new(s->content_guess ? s->content_guess : FIRST_GUESS);
    if (!s->content) return fail(s, JSONSCAN_MEMORY, p, "no memory for the document");
    s->content_taken = 0;
    s->decoder = (base64_decoder){0};
    s->sink = SINK_CONTENT;
    s->state = STATE_CONTENT;
    return p + 1;
}

static const uint8_t *content_end(jsonscan *s, const uint8_t *p) {
    base64_status status = base64_decode_end(&s->decoder);
    if (status != BASE64_OK) return fail(s, JSONSCAN_BASE64, p, base64_words(status));
    size_t guess = s->content->used + s->content->used / 8 + BASE64_DECODE_SLACK;
    s->content_guess = guess < LARGEST_GUESS ? guess : LARGEST_GUESS;
    s->content = docbuffer_fit(s->content);
    scan_value_done(s);
    return p + 1;
}

docbuffer *jsonscan_take_content(jsonscan *s, size_t least_bytes) {
    docbuffer *taken = s->content;
    if (!taken || taken->used < least_bytes) return NULL;
    /* A document with nothing left to come still has content, so it gets a buffer in any case. */
    docbuffer *fresh = docbuffer_new(s->content_guess ? s->content_guess : FIRST_GUESS);
    if (!fresh) return NULL;
    s->content_taken += taken->used;
    s->content = fresh;
    return taken;
}

/* What the document may still grow by. */
static uint64_t allowed_bytes(const jsonscan *s) {
    return s->limits.max_document_bytes - s->content_taken - s->content->used;
}

/* Decodes one character. Near the limit this finds the same character at every cut of the body. */
static bool add_char(jsonscan *s, uint8_t c, uint64_t offset) {
    uint8_t bytes[3];
    size_t n = 0;
    base64_status status = base64_decode_char(&s->decoder, c, bytes, &n);
    docbuffer *b = s->content;
    if (status != BASE64_OK) {
        scan_fail(s, JSONSCAN_BASE64, offset, base64_words(status));
    } else if (n > allowed_bytes(s)) {
        scan_fail(s, JSONSCAN_LIMIT_DOCUMENT_BYTES, offset, TOO_LARGE);
    } else if (n > b->capacity - b->used && !docbuffer_grow(b, b->used + n)) {
        scan_fail(s, JSONSCAN_MEMORY, offset, "no memory for the document");
    } else {
        memcpy(b->data + b->used, bytes, n);
        b->used += n;
        return true;
    }
    return false;
}

bool content_add_escaped(jsonscan *s, uint32_t code) {
    /* 0x80 stands for every code beyond ASCII, since all of them are outside the alphabet. */
    return add_char(s, code < 0x80 ? (uint8_t)code : 0x80, s->escape_offset);
}

/* How many more characters fit into `room` bytes in any case, together with those of the quad that is not complete. */
static size_t chars_for(const jsonscan *s, uint64_t room) {
    uint64_t chars = room / 3 * 4;
    return chars > s->decoder.sextets ? (size_t)(chars - s->decoder.sextets) : 0;
}

/* How many of n characters can be decoded at once. The limit and the buffer must have room for them; the buffer grows
 * if it can. */
static size_t prepare(jsonscan *s, size_t n, const uint8_t *p) {
    docbuffer *b = s->content;
    size_t allowed = chars_for(s, allowed_bytes(s));
    if (n > allowed) n = allowed;
    size_t room = b->capacity - b->used;
    size_t fits = room > BASE64_DECODE_SLACK ? chars_for(s, room - BASE64_DECODE_SLACK) : 0;
    if (n <= fits || fits >= STRETCH_BYTES) return n < fits ? n : fits;
    if (!docbuffer_grow(b, b->capacity + 1)) {
        fail(s, JSONSCAN_MEMORY, p, "no memory for the document");
        return 0;
    }
    fits = chars_for(s, b->capacity - b->used - BASE64_DECODE_SLACK);
    return n < fits ? n : fits;
}

/* PHP ("\/"), .NET ("\u002B") and MIME encoders ("\r\n") write an escape every 60 to 80 characters. So a stretch of the
 * body is first unescaped into a scratch buffer, and then decoded in wide registers. Returns the end of the stretch. If
 * the stretch has anything else in it, returns p, and the caller reads it character by character to find the error. */
static const uint8_t *scan_escaped_stretch(jsonscan *s, const uint8_t *p) {
    uint8_t scratch[STRETCH_BYTES + JSONSCAN_COPY_SLACK];
    docbuffer *b = s->content;
    size_t n, taken, written;
    size_t stretch = s->kernel->unescape(p, (size_t)(s->piece_end - p), scratch, STRETCH_BYTES, &n);
    if (prepare(s, n, p) < n) return p;
    base64_decoder before = s->decoder;
    base64_status status = base64_decode_run(&s->decoder, s->base64, scratch, n, b->data + b->used, &taken, &written);
    if (status != BASE64_OK || taken < n) {
        s->decoder = before;
        return p;
    }
    b->used += written;
    return p + stretch;
}

const uint8_t *scan_content(jsonscan *s, const uint8_t *p) {
    while (p < s->piece_end) {
        size_t left = (size_t)(s->piece_end - p), n = prepare(s, left, p), taken, written;
        if (s->failure.kind != JSONSCAN_NO_FAILURE) return s->piece_end;
        base64_status status =
            base64_decode_run(&s->decoder, s->base64, p, n, s->content->data + s->content->used, &taken, &written);
        s->content->used += written;
        p += taken;
        if (status != BASE64_OK) return fail(s, JSONSCAN_BASE64, p, base64_words(status));
        if (p == s->piece_end) break;
        if (*p == '"') return content_end(s, p);
        if (*p == '\\') {
            const uint8_t *next = scan_escaped_stretch(s, p);
            if (s->failure.kind != JSONSCAN_NO_FAILURE) return s->piece_end;
            if (next > p) {
                p = next;
                continue;
            }
            s->escape_offset = scan_offset(s, p);
            s->state = STATE_ESCAPE;
            return p + 1;
        }
        if (*p < 0x20) return fail(s, JSONSCAN_SYNTAX, p, "a control character in a string");
        if (taken == n && n < left) {
            /* The limit or the buffer stopped the decoder here, not the character itself. */
            if (!add_char(s, *p, scan_offset(s, p))) return s->piece_end;
            p++;
            continue;
        }
        return fail(s, JSONSCAN_BASE64, p, base64_words(BASE64_FOREIGN_CHARACTER));
    }
    return p;
}
