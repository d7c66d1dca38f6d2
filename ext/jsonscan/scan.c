/* Reads the tokens and the structure of the body. strings.c and content.c read what is between quotes. */
#include "jsonscan/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *fail(jsonscan *s, const uint8_t *p, const char *what) {
    return scan_fail(s, JSONSCAN_SYNTAX, scan_offset(s, p), what);
}

static bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

static const uint8_t *skip_space(const jsonscan *s, const uint8_t *p) {
    while (p < s->piece_end && is_space(*p)) p++;
    return p;
}

/* Finds the role of the value that begins at p. Refuses a value whose type does not fit its role. */
static bool find_role(jsonscan *s, const uint8_t *p, scan_role *role) {
    frame *parent = scan_top(s);
    const char *wrong = NULL;
    *role = ROLE_OTHER;
    if (!parent) {
        *role = ROLE_REQUEST_BODY;
        if (*p != '{') wrong = "the body must be a JSON object";
    } else if (parent->role == ROLE_REQUEST_BODY && keys_current_is(s, parent, "documents")) {
        *role = ROLE_DOCUMENTS;
        if (*p != '[' && *p != 'n') wrong = "must be an array";
    } else if (parent->role == ROLE_DOCUMENTS) {
        *role = ROLE_DOCUMENT;
        if (parent->count > s->limits.max_documents) {
            scan_fail(s, JSONSCAN_LIMIT_DOCUMENTS, scan_offset(s, p), "more documents than the limit");
            return false;
        }
        s->documents_begun++;
        if (*p != '{') wrong = "must be an object";
    } else if (parent->role == ROLE_DOCUMENT && *p == '{' && keys_current_is(s, parent, "documentRequest")) {
        *role = ROLE_DOCUMENT_REQUEST;
    } else if (parent->role == ROLE_DOCUMENT_REQUEST && keys_current_is(s, parent, "base64Content")) {
        *role = ROLE_CONTENT;
        if (*p != '"' && *p != 'n') wrong = "must be a string";
    }
    if (wrong) scan_fail(s, JSONSCAN_WRONG_TYPE, scan_offset(s, p), wrong);
    return !wrong;
}

static const uint8_t *open_frame(jsonscan *s, const uint8_t *p, scan_role role) {
    if (s->depth == s->limits.max_depth)
        return scan_fail(s, JSONSCAN_DEPTH, scan_offset(s, p), "nested deeper than the limit");
    if (role == ROLE_DOCUMENT) {
        s->in_document = true;
        s->document_start = s->document_text.used;
    }
    if (role != ROLE_DOCUMENTS && !scan_emit(s, p, 1)) return s->piece_end;
    s->frames[s->depth++] = (frame){.role = role, .is_array = *p == '[', .keys = s->keys.used};
    s->state = *p == '[' ? STATE_VALUE_OR_END : STATE_KEY_OR_END;
    return p + 1;
}

static bool finish_document(jsonscan *s) {
    if (s->finished_count == s->finished_capacity) {
        size_t capacity = s->finished_capacity ? s->finished_capacity * 2 : 8;
        jsonscan_document *grown = realloc(s->finished, capacity * sizeof *grown);
        if (!grown) return false;
        s->finished = grown;
        s->finished_capacity = capacity;
    }
    s->finished[s->finished_count++] = (jsonscan_document){
        .ordinal = s->frames[1].count - 1,
        .text_start = s->document_start,
        .text_bytes = s->document_text.used - s->document_start,
        .content = s->content,
    };
    s->content = NULL;
    s->in_document = false;
    s->document_start = s->document_text.used;
    return true;
}

static const uint8_t *close_frame(jsonscan *s, const uint8_t *p) {
    frame *f = scan_top(s);
    if (f->role == ROLE_DOCUMENTS) {
        char count[24];
        snprintf(count, sizeof count, "%llu", (unsigned long long)f->count);
        if (!scan_emit_instead(s, count, p)) return s->piece_end;
    } else if (!scan_emit(s, p, 1)) {
        return s->piece_end;
    }
    if (f->role == ROLE_DOCUMENT && !finish_document(s))
        return scan_fail(s, JSONSCAN_MEMORY, scan_offset(s, p), "no memory for the documents");
    keys_close(s, f);
    s->depth--;
    if (s->depth) scan_value_done(s);
    else s->state = STATE_DONE;
    return p + 1;
}

typedef enum {
    NUMBER_MINUS,
    NUMBER_ZERO,
    NUMBER_INT,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_E,
    NUMBER_SIGN,
    NUMBER_EXPONENT
} number_state;

static const uint8_t *scan_value(jsonscan *s, const uint8_t *p) {
    frame *parent = scan_top(s);
    scan_role role;
    if (*p == ']' && s->state == STATE_VALUE_OR_END) return close_frame(s, p);
    if (!*p || !strchr("{[\"-0123456789tfn", *p)) return fail(s, p, "a value is expected");
    if (parent && parent->is_array) {
        parent->count++;
        parent->in_child = true;
    }
    if (!find_role(s, p, &role)) return s->piece_end;
    switch (*p) {
    case '{': return open_frame(s, p, role);
    case '[': return open_frame(s, p, role == ROLE_DOCUMENTS ? role : ROLE_OTHER);
    case '"':
        if (role == ROLE_CONTENT) return content_begin(s, p);
        if (!scan_emit(s, p, 1)) return s->piece_end;
        s->string_offset = scan_offset(s, p);
        s->sink = SINK_TEXT;
        s->state = STATE_STRING;
        return p + 1;
    case 't': s->literal = "true"; break;
    case 'f': s->literal = "false"; break;
    case 'n': s->literal = "null"; break;
    default:
        if (!scan_emit(s, p, 1)) return s->piece_end;
        s->number_state = *p == '-' ? NUMBER_MINUS : *p == '0' ? NUMBER_ZERO : NUMBER_INT;
        s->state = STATE_NUMBER;
        return p + 1;
    }
    s->state = STATE_LITERAL;
    return p;
}

static const uint8_t *scan_literal(jsonscan *s, const uint8_t *p) {
    for (; p < s->piece_end && *s->literal; p++, s->literal++) {
        if (*p != (uint8_t)*s->literal) return fail(s, p, "a value is expected");
        if (!scan_emit(s, p, 1)) return s->piece_end;
    }
    if (!*s->literal) scan_value_done(s);
    return p;
}

#define NUMBER_ENDS 0xfe
#define NUMBER_WRONG 0xff

/* The grammar of numbers (RFC 8259 section 6). */
static uint8_t next_number_state(uint8_t state, uint8_t c) {
    bool digit = c >= '0' && c <= '9', exponent = c == 'e' || c == 'E';
    switch (state) {
    case NUMBER_MINUS: return c == '0' ? NUMBER_ZERO : digit ? NUMBER_INT : NUMBER_WRONG;
    case NUMBER_ZERO: return c == '.' ? NUMBER_POINT : exponent ? NUMBER_E : digit ? NUMBER_WRONG : NUMBER_ENDS;
    case NUMBER_INT: return digit ? NUMBER_INT : c == '.' ? NUMBER_POINT : exponent ? NUMBER_E : NUMBER_ENDS;
    case NUMBER_POINT: return digit ? NUMBER_FRACTION : NUMBER_WRONG;
    case NUMBER_FRACTION: return digit ? NUMBER_FRACTION : exponent ? NUMBER_E : NUMBER_ENDS;
    case NUMBER_E: return digit ? NUMBER_EXPONENT : c == '+' || c == '-' ? NUMBER_SIGN : NUMBER_WRONG;
    case NUMBER_SIGN: return digit ? NUMBER_EXPONENT : NUMBER_WRONG;
    default: return digit ? NUMBER_EXPONENT : NUMBER_ENDS;
    }
}

static const uint8_t *scan_number(jsonscan *s, const uint8_t *p) {
    const uint8_t *from = p;
    uint8_t next = s->number_state;
    for (; p < s->piece_end; p++) {
        next = next_number_state(s->number_state, *p);
        if (next == NUMBER_ENDS || next == NUMBER_WRONG) break;
        s->number_state = next;
    }
    if (!scan_emit(s, from, (size_t)(p - from))) return s->piece_end;
    if (p == s->piece_end) return p;
    if (next == NUMBER_WRONG) return fail(s, p, "not a valid number");
    scan_value_done(s);
    return p;
}

static const uint8_t *scan_key(jsonscan *s, const uint8_t *p) {
    if (*p == '}' && s->state == STATE_KEY_OR_END) return close_frame(s, p);
    if (*p != '"') return fail(s, p, s->state == STATE_KEY ? "a key is expected" : "a key or '}' is expected");
    if (!scan_emit(s, p, 1)) return s->piece_end;
    s->string_offset = scan_offset(s, p);
    if (!keys_begin(s)) return scan_fail(s, JSONSCAN_MEMORY, s->string_offset, "no memory for the keys");
    s->sink = SINK_KEY;
    s->state = STATE_STRING;
    return p + 1;
}

static const uint8_t *scan_colon(jsonscan *s, const uint8_t *p) {
    if (*p != ':') return fail(s, p, "':' is expected after a key");
    if (!scan_emit(s, p, 1)) return s->piece_end;
    s->state = STATE_VALUE;
    return p + 1;
}

static const uint8_t *scan_after_value(jsonscan *s, const uint8_t *p) {
    frame *f = scan_top(s);
    if (*p == (f->is_array ? ']' : '}')) return close_frame(s, p);
    if (*p != ',') return fail(s, p, f->is_array ? "',' or ']' is expected" : "',' or '}' is expected");
    if (f->role != ROLE_DOCUMENTS && !scan_emit(s, p, 1)) return s->piece_end;
    s->state = f->is_array ? STATE_VALUE : STATE_KEY;
    return p + 1;
}

/* Skips a byte order mark, which RFC 8259 section 8.1 allows to ignore. */
static const uint8_t *scan_start(jsonscan *s, const uint8_t *p) {
    static const uint8_t mark[] = {0xef, 0xbb, 0xbf};
    if (s->state == STATE_START && *p != mark[0]) {
        s->state = STATE_VALUE;
        return p;
    }
    if (*p != mark[s->state - STATE_START]) return fail(s, p, "a value is expected");
    s->state = s->state == STATE_BOM_3 ? STATE_VALUE : s->state + 1;
    return p + 1;
}

/* Reads one token, or as much of a string as the piece has. */
static const uint8_t *scan_step(jsonscan *s, const uint8_t *p) {
    switch (s->state) {
    case STATE_STRING: return scan_string(s, p);
    case STATE_CONTENT: return scan_content(s, p);
    case STATE_UTF8: return scan_utf8(s, p);
    case STATE_ESCAPE:
    case STATE_HEX:
    case STATE_LOW_BACKSLASH:
    case STATE_LOW_U: return scan_escape(s, p);
    case STATE_NUMBER: return scan_number(s, p);
    case STATE_LITERAL: return scan_literal(s, p);
    case STATE_START:
    case STATE_BOM_2:
    case STATE_BOM_3: return scan_start(s, p);
    default: break;
    }
    p = skip_space(s, p);
    if (p == s->piece_end) return p;
    switch (s->state) {
    case STATE_VALUE:
    case STATE_VALUE_OR_END: return scan_value(s, p);
    case STATE_KEY:
    case STATE_KEY_OR_END: return scan_key(s, p);
    case STATE_COLON: return scan_colon(s, p);
    case STATE_AFTER_VALUE: return scan_after_value(s, p);
    default: return fail(s, p, "something follows the request");
    }
}

bool jsonscan_feed(jsonscan *s, const uint8_t *bytes, size_t n) {
    const uint8_t *p = bytes;
    if (s->failure.kind != JSONSCAN_NO_FAILURE) return false;
    s->piece = bytes;
    s->piece_end = bytes + n;
    while (p < s->piece_end) p = scan_step(s, p);
    s->piece_offset += n;
    s->piece = s->piece_end = NULL;
    if (s->failure.kind != JSONSCAN_NO_FAILURE) {
        docbuffer_free(s->content);
        s->content = NULL;
    }
    return s->failure.kind == JSONSCAN_NO_FAILURE;
}

bool jsonscan_finish(jsonscan *s) {
    if (s->failure.kind == JSONSCAN_NO_FAILURE && s->state != STATE_DONE)
        scan_fail(s, JSONSCAN_TRUNCATED, s->piece_offset,
                  s->state == STATE_START ? "the body is empty" : "the body ends in the middle");
    return s->failure.kind == JSONSCAN_NO_FAILURE;
}
