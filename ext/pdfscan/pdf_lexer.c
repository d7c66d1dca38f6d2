/* Skips and judges values. Nothing here recurses: nested values are followed with a stack of fixed size. */
#include "pdfscan/pdf_lexer.h"

#include <string.h>

enum { REGULAR = 0, SPACE = 1, DELIMITER = 2 };

static const uint8_t CLASS[256] = {
    [0] = SPACE,       ['\t'] = SPACE,    ['\n'] = SPACE,    ['\f'] = SPACE,    ['\r'] = SPACE,    [' '] = SPACE,
    ['('] = DELIMITER, [')'] = DELIMITER, ['<'] = DELIMITER, ['>'] = DELIMITER, ['['] = DELIMITER, [']'] = DELIMITER,
    ['{'] = DELIMITER, ['}'] = DELIMITER, ['/'] = DELIMITER, ['%'] = DELIMITER,
};

bool pdf_is_space(uint8_t c) { return CLASS[c] == SPACE; }
bool pdf_is_regular(uint8_t c) { return CLASS[c] == REGULAR; }

int pdf_hex_digit(uint8_t c) {
    if (pdf_is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const uint8_t *skip_regular(const uint8_t *at, const uint8_t *end) {
    while (at < end && CLASS[*at] == REGULAR) at++;
    return at;
}

const uint8_t *pdf_skip_space(const uint8_t *at, const uint8_t *end) {
    for (; at < end; at++) {
        if (CLASS[*at] == SPACE) continue;
        if (*at != '%') break;
        while (at < end && *at != '\n' && *at != '\r') at++;
        if (at == end) break;
    }
    return at;
}

const uint8_t *pdf_skip_word(const uint8_t *at, const uint8_t *end, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(end - at) < n || memcmp(at, word, n) != 0) return NULL;
    return at + n == end || CLASS[at[n]] != REGULAR ? at + n : NULL;
}

const uint8_t *pdf_skip_number(const uint8_t *at, const uint8_t *end, uint64_t *value) {
    const uint8_t *start = at;
    uint64_t sum = 0;
    for (; at < end && pdf_is_digit(*at); at++) {
        if (at - start == 19) return NULL;
        sum = sum * 10 + (uint64_t)(*at - '0');
    }
    *value = sum;
    return at > start ? at : NULL;
}

static const uint8_t *skip_two_numbers(const uint8_t *at, const uint8_t *end, uint64_t *num, uint64_t *gen) {
    at = pdf_skip_number(at, end, num);
    if (!at || at == end || CLASS[*at] == REGULAR) return NULL;
    at = pdf_skip_number(pdf_skip_space(at, end), end, gen);
    if (!at || at == end) return NULL;
    return pdf_skip_space(at, end);
}

const uint8_t *pdf_skip_header(const uint8_t *at, const uint8_t *end, uint64_t *num, uint64_t *gen) {
    at = skip_two_numbers(at, end, num, gen);
    /* Some files have "1 0 obj123", so the keyword need not be a whole token. */
    return at && end - at >= 3 && memcmp(at, "obj", 3) == 0 ? at + 3 : NULL;
}

/* `at` must be behind the opening parenthesis. */
static const uint8_t *skip_string(const uint8_t *at, const uint8_t *end) {
    for (unsigned open = 1; at < end; at++) {
        if (*at == '\\') {
            if (++at == end) break;
        } else if (*at == '(') {
            open++;
        } else if (*at == ')' && --open == 0) {
            return at + 1;
        }
    }
    return NULL;
}

/* These words are never inside a value. They end the search for the end of a dictionary that is not closed. */
static bool ends_object(const uint8_t *at, size_t n) {
    return (n == 6 && (memcmp(at, "endobj", 6) == 0 || memcmp(at, "stream", 6) == 0)) || (n == 3 && memcmp(at, "obj", 3) == 0) ||
           (n == 9 && (memcmp(at, "endstream", 9) == 0 || memcmp(at, "startxref", 9) == 0));
}

bool pdf_skip_value(const uint8_t **cursor, const uint8_t *end, unsigned max_depth, bool *too_deep) {
    char closing[PDF_MAX_DEPTH];
    unsigned depth = 0;
    const uint8_t *at = *cursor, *next;
    if (max_depth > PDF_MAX_DEPTH) max_depth = PDF_MAX_DEPTH;
    do {
        at = *cursor = pdf_skip_space(at, end);
        if (at == end) return false;
        uint8_t c = *at;
        if (c == '[' || (c == '<' && end - at > 1 && at[1] == '<')) {
            if (depth == max_depth) {
                *too_deep = true;
                return false;
            }
            closing[depth++] = c == '[' ? ']' : '>';
            at += c == '[' ? 1 : 2;
        } else if (c == ']' || c == '>') {
            if (!depth || closing[depth - 1] != (char)c) return false;
            if (c == '>' && (end - at < 2 || at[1] != '>')) return false;
            depth--;
            at += c == ']' ? 1 : 2;
        } else if (c == '(') {
            if (!(next = skip_string(at + 1, end))) {
                *cursor = end;
                return false;
            }
            at = next;
        } else if (c == '<') {
            next = memchr(at, '>', (size_t)(end - at));
            if (!next) {
                *cursor = end;
                return false;
            }
            at = next + 1;
        } else if (c == '/') {
            at = skip_regular(at + 1, end);
        } else if (CLASS[c] == DELIMITER) {
            if (c == ')') return false;
            at++;
        } else {
            next = skip_regular(at, end);
            if (ends_object(at, (size_t)(next - at))) return false;
            uint64_t num, gen;
            if (depth == 0 && pdf_is_digit(c)) {
                const uint8_t *after = skip_two_numbers(at, end, &num, &gen);
                if (after && (after = pdf_skip_word(after, end, "R"))) next = after;
            }
            at = next;
        }
    } while (depth);
    *cursor = at;
    return true;
}

pdf_kind pdf_kind_of(pdf_span value) {
    if (value.at >= value.end) return PDF_NULL;
    uint8_t c = *value.at;
    if (c == '/') return PDF_NAME;
    if (c == '(') return PDF_STRING;
    if (c == '[') return PDF_ARRAY;
    if (c == '<') return value.end - value.at > 1 && value.at[1] == '<' ? PDF_DICT : PDF_STRING;
    if (pdf_is_digit(c) && value.end[-1] == 'R') return PDF_REF;
    if (pdf_is_digit(c) || c == '+' || c == '-' || c == '.') return PDF_NUMBER;
    if (pdf_skip_word(value.at, value.end, "null")) return PDF_NULL;
    if (pdf_skip_word(value.at, value.end, "true") || pdf_skip_word(value.at, value.end, "false")) return PDF_BOOLEAN;
    return PDF_JUNK;
}

bool pdf_to_integer(pdf_span value, int64_t *result) {
    const uint8_t *at = value.at;
    if (at >= value.end) return false;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+') at++;
    uint64_t magnitude;
    at = pdf_skip_number(at, value.end, &magnitude);
    if (!at || magnitude > INT64_MAX || (at < value.end && *at != '.')) return false;
    *result = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    return true;
}

bool pdf_to_ref(pdf_span value, uint32_t *num, uint32_t *gen) {
    uint64_t n, g;
    if (pdf_kind_of(value) != PDF_REF || !skip_two_numbers(value.at, value.end, &n, &g)) return false;
    if (n > UINT32_MAX || g > UINT32_MAX) return false;
    *num = (uint32_t)n;
    *gen = (uint32_t)g;
    return true;
}

/* A number, or what programs print in its place and readers tolerate: an exponent, a decimal comma, an infinity or "not a
 * number", as the C library, Java and Windows write them. */
static bool is_tolerated_number(pdf_span token) {
    static const char *const WORDS[] = {"nan", "inf", "infinity", "1.#inf", "1.#ind", "1.#qnan", "1.#snan"};
    const uint8_t *start = token.at;
    bool is_usual = true;
    for (const uint8_t *at = start; at < token.end; at++)
        is_usual = is_usual && (pdf_is_digit(*at) || *at == '.' || *at == '-' || *at == '+' || *at == ',' || ((*at == 'e' || *at == 'E') && at > start));
    if (is_usual) return true;
    if (*start == '-' || *start == '+') start++;
    size_t n = (size_t)(token.end - start);
    for (unsigned i = 0; i < sizeof WORDS / sizeof *WORDS; i++) {
        size_t same = 0;
        while (same < n && WORDS[i][same] && (start[same] | 0x20) == (WORDS[i][same] | 0x20)) same++;
        if (WORDS[i][same]) continue;
        while (same < n && start[same] == '0') same++;
        if (same == n) return true;
    }
    return false;
}

static bool is_scalar(pdf_span token) {
    pdf_kind kind = pdf_kind_of(token);
    if (kind == PDF_NULL) return pdf_skip_word(token.at, token.end, "null") == token.end;
    if (kind == PDF_STRING || kind == PDF_NAME || kind == PDF_REF) return true;
    if (kind == PDF_BOOLEAN) return token.end - token.at == (*token.at == 't' ? 4 : 5);
    return is_tolerated_number(token);
}

bool pdf_well_formed(pdf_span value) {
    enum { KEY, VALUE, ELEMENT } expects[PDF_MAX_DEPTH + 1];
    unsigned depth = 0;
    const uint8_t *at = value.at;
    expects[0] = ELEMENT;
    while ((at = pdf_skip_space(at, value.end)) < value.end) {
        bool opens_dict = *at == '<' && value.end - at > 1 && at[1] == '<';
        if (*at == ']' || *at == '>') {
            if (!depth || expects[depth] == VALUE || (expects[depth] == KEY) != (*at == '>')) return false;
            at += *at == '>' ? 2 : 1;
            depth--;
            continue;
        }
        if (expects[depth] == KEY && *at != '/') return false;
        if (expects[depth] != ELEMENT) expects[depth] = expects[depth] == KEY ? VALUE : KEY;
        if (opens_dict || *at == '[') {
            if (depth == PDF_MAX_DEPTH) return false;
            expects[++depth] = opens_dict ? KEY : ELEMENT;
            at += opens_dict ? 2 : 1;
            continue;
        }
        bool too_deep = false;
        pdf_span token = {at, at};
        if (!pdf_skip_value(&token.end, value.end, 1, &too_deep) || !is_scalar(token)) return false;
        at = token.end;
    }
    return depth == 0;
}

bool pdf_name_is(pdf_span value, const char *name) {
    const uint8_t *at = value.at;
    if (at == value.end || *at++ != '/') return false;
    for (; at < value.end; at++, name++) {
        uint8_t c = *at;
        if (c == '#' && value.end - at > 2 && pdf_hex_digit(at[1]) >= 0 && pdf_hex_digit(at[2]) >= 0) {
            c = (uint8_t)(pdf_hex_digit(at[1]) << 4 | pdf_hex_digit(at[2]));
            at += 2;
        }
        if (!*name || c != (uint8_t)*name) return false;
    }
    return !*name;
}

pdf_members pdf_open(pdf_span container) {
    pdf_kind kind = pdf_kind_of(container);
    size_t bracket = kind == PDF_DICT ? 2 : kind == PDF_ARRAY ? 1 : 0;
    if (!bracket || (size_t)(container.end - container.at) < 2 * bracket) return (pdf_members){NULL, NULL};
    return (pdf_members){container.at + bracket, container.end - bracket};
}

bool pdf_next(pdf_members *members, pdf_span *value) {
    if (!members->at) return false;
    bool too_deep = false;
    value->at = members->at = pdf_skip_space(members->at, members->end);
    if (!pdf_skip_value(&members->at, members->end, PDF_MAX_DEPTH, &too_deep)) return false;
    value->end = members->at;
    return true;
}

bool pdf_next_pair(pdf_members *members, pdf_span *key, pdf_span *value) {
    do {
        if (!pdf_next(members, key)) return false;
    } while (*key->at != '/');
    pdf_members before = *members;
    if (!pdf_next(members, value)) *members = before, *value = (pdf_span){before.at, before.at};
    return true;
}

static bool is_same(pdf_span a, pdf_span b) {
    size_t n = (size_t)(a.end - a.at);
    return (size_t)(b.end - b.at) == n && memcmp(a.at, b.at, n) == 0;
}

unsigned pdf_get_each(pdf_span dict, const char *const *keys, pdf_span *values, unsigned n) {
    unsigned found = 0, ambiguous = 0;
    for (unsigned i = 0; i < n; i++) values[i] = (pdf_span){dict.end, dict.end};
    if (pdf_kind_of(dict) != PDF_DICT) return 0;
    pdf_members members = pdf_open(dict);
    pdf_span key, value;
    while (pdf_next_pair(&members, &key, &value))
        for (unsigned i = 0; i < n; i++) {
            if (!pdf_name_is(key, keys[i])) continue;
            if (found >> i & 1 && !is_same(values[i], value)) ambiguous |= 1u << i;
            values[i] = value;
            found |= 1u << i;
        }
    return ambiguous;
}

bool pdf_get(pdf_span dict, const char *name, pdf_span *value) {
    bool found = false;
    *value = (pdf_span){dict.end, dict.end};
    if (pdf_kind_of(dict) != PDF_DICT) return false;
    pdf_members members = pdf_open(dict);
    pdf_span key, each;
    while (pdf_next_pair(&members, &key, &each))
        if (pdf_name_is(key, name)) *value = each, found = true;
    return found;
}

const uint8_t *pdf_find(const uint8_t *at, const uint8_t *end, const char *word) {
    size_t n = strlen(word);
    while ((size_t)(end - at) >= n) {
        at = memchr(at, word[0], (size_t)(end - at) - n + 1);
        if (!at) return NULL;
        if (memcmp(at, word, n) == 0) return at;
        at++;
    }
    return NULL;
}

const uint8_t *pdf_find_last(const uint8_t *at, const uint8_t *end, const char *word) {
    size_t n = strlen(word);
    if ((size_t)(end - at) < n) return NULL;
    for (const uint8_t *p = end - n;; p--) {
        if (*p == (uint8_t)word[0] && memcmp(p, word, n) == 0) return p;
        if (p == at) return NULL;
    }
}
