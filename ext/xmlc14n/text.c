/* Character data, references and attribute values (XML 1.0 2.4, 2.11, 3.3.3, 4.1; Canonical XML 1.0 2.3).
 *
 * Everything is written while it is checked; only attribute values are checked first, since they are sorted. */
#include "xmlc14n/internal.h"
#include "xmlc14n/utf8.h"

enum { PIECE = 4096, LONGEST_REFERENCE = 8 };

static bool put_character(xmlc14n *c, uint32_t code) {
    if (!room(c, 4)) return false;
    c->out.used += utf8_encode(code, c->out.bytes + c->out.used);
    return true;
}

/* Copies characters beyond ASCII. */
static const uint8_t *copy_wide(xmlc14n *c, const uint8_t *p, const uint8_t *end) {
    if (!room(c, PIECE)) return NULL;
    uint8_t *out = c->out.bytes + c->out.used;
    const uint8_t *from = p;
    do {
        uint32_t code;
        unsigned length = utf8_character(p, end, &code);
        if (UNLIKELY(!length)) return refuse(c, XMLC14N_UTF8, p);
        for (unsigned i = 0; i < length; i++) out[i] = p[i];
        out += length;
        p += length;
    } while (p < end && *p >= 0x80 && p - from < PIECE - 4);
    c->out.used = (size_t)(out - c->out.bytes);
    return p;
}

/* Copies what is the same in the canonical form. Stops at a byte that needs a decision, or at the end. */
static inline const uint8_t *copy_plain(xmlc14n *c, const uint8_t *p, const uint8_t *end) {
    for (;;) {
        size_t n = (size_t)(end - p);
        if (n > PIECE) n = PIECE;
        if (!room(c, n + XMLC14N_SLACK)) return NULL;
        size_t run = c->kernel->copy_text(p, n, c->out.bytes + c->out.used);
        p += run;
        c->out.used += run;
        if (p == end || run < n) return p;
    }
}

/* A line end is one newline, however it is written (XML 1.0 2.11). */
static const uint8_t *behind_line_end(const uint8_t *p, const uint8_t *end) {
    return p + 1 < end && p[1] == '\n' ? p + 2 : p + 1;
}

static const struct {
    const char *name;
    uint8_t n, character;
} ENTITIES[] = {{"amp;", 4, '&'}, {"lt;", 3, '<'}, {"gt;", 3, '>'}, {"quot;", 5, '"'}, {"apos;", 5, '\''}};

static const uint8_t *scan_number(xmlc14n *c, const uint8_t *p, const uint8_t *end, uint32_t *code) {
    const uint8_t *from = p;
    bool hex = p < end && *p == 'x';
    if (hex) p++;
    const uint8_t *digits = p;
    for (*code = 0; p < end && *p != ';'; p++) {
        uint8_t low = *p | 0x20;
        unsigned digit = 16;
        if (*p >= '0' && *p <= '9') digit = *p - '0';
        else if (hex && low >= 'a' && low <= 'f') digit = low - 'a' + 10;
        if (digit == 16) return refuse(c, XMLC14N_TOKEN, p);
        *code = *code * (hex ? 16 : 10) + digit;
        if (*code > 0x10ffff) return refuse(c, XMLC14N_REFERENCE, from);
    }
    if (p == end) return refuse_end(c, p);
    if (p == digits) return refuse(c, XMLC14N_TOKEN, p);
    return is_character(*code) ? p + 1 : refuse(c, XMLC14N_REFERENCE, from);
}

/* Reads a reference; p is at '&'. Only the five entities of XML itself are known, since a DOCTYPE is refused. */
static const uint8_t *scan_reference(xmlc14n *c, const uint8_t *p, const uint8_t *end, uint32_t *code) {
    const uint8_t *name = p + 1;
    if (name == end) return refuse_end(c, end);
    if (*name == '#') return scan_number(c, name + 1, end, code);
    for (size_t i = 0; i < sizeof ENTITIES / sizeof ENTITIES[0]; i++) {
        if ((size_t)(end - name) >= ENTITIES[i].n && memcmp(name, ENTITIES[i].name, ENTITIES[i].n) == 0) {
            *code = ENTITIES[i].character;
            return name + ENTITIES[i].n;
        }
    }
    const uint8_t *behind = scan_ncname(c, name, end);
    if (!behind) return NULL;
    return *behind == ';' ? refuse(c, XMLC14N_ENTITY, p) : refuse(c, XMLC14N_TOKEN, behind);
}

static bool put_text_character(xmlc14n *c, uint32_t code) {
    switch (code) {
    case '&': return put(c, "&amp;", 5);
    case '<': return put(c, "&lt;", 4);
    case '>': return put(c, "&gt;", 4);
    case '\r': return put(c, "&#xD;", 5);
    default: return put_character(c, code);
    }
}

const uint8_t *text_content(xmlc14n *c, const uint8_t *p, const uint8_t *end) {
    uint32_t code;
    while ((p = copy_plain(c, p, end)) && p < end && *p != '<') {
        switch (*p) {
        case '&':
            p = scan_reference(c, p, end, &code);
            if (!p || !put_text_character(c, code)) return NULL;
            break;
        case '>':
            /* A tag comes before the text of an element, so there are two bytes before this one. */
            if (p[-1] == ']' && p[-2] == ']') return refuse(c, XMLC14N_TOKEN, p - 2);
            if (!put(c, "&gt;", 4)) return NULL;
            p++;
            break;
        case '\r':
            if (!put(c, "\n", 1)) return NULL;
            p = behind_line_end(p, end);
            break;
        default:
            p = *p < 0x80 ? refuse(c, XMLC14N_CHARACTER, p) : copy_wide(c, p, end);
            if (!p) return NULL;
        }
    }
    return p;
}

const uint8_t *text_cdata(xmlc14n *c, const uint8_t *p, const uint8_t *end) {
    while ((p = copy_plain(c, p, end)) && p < end) {
        if (*p == '\r') {
            if (!put(c, "\n", 1)) return NULL;
            p = behind_line_end(p, end);
        } else if (*p >= 0x80) {
            if (!(p = copy_wide(c, p, end))) return NULL;
        } else if (*p < 0x20) {
            return refuse(c, XMLC14N_CHARACTER, p);
        } else if (!put_text_character(c, *p++)) {
            return NULL;
        }
    }
    return p;
}

const uint8_t *text_verbatim(xmlc14n *c, const uint8_t *p, const uint8_t *end) {
    while ((p = copy_plain(c, p, end)) && p < end) {
        if (*p == '\r') {
            if (!put(c, "\n", 1)) return NULL;
            p = behind_line_end(p, end);
        } else if (*p >= 0x80) {
            if (!(p = copy_wide(c, p, end))) return NULL;
        } else if (*p < 0x20) {
            return refuse(c, XMLC14N_CHARACTER, p);
        } else if (!put(c, p++, 1)) {
            return NULL;
        }
    }
    return p;
}

const uint8_t *scan_value(xmlc14n *c, const uint8_t *p, const uint8_t *stop, uint8_t quote, bool *plain) {
    uint32_t code;
    *plain = true;
    for (;;) {
        p += c->kernel->value_run(p, (size_t)(stop - p));
        if (p == stop) return refuse_end(c, p);
        if (*p == quote) return p;
        if (*p >= 0x80) {
            unsigned length = utf8_character(p, stop, &code);
            if (!length) return refuse(c, XMLC14N_UTF8, p);
            p += length;
            continue;
        }
        *plain = *plain && *p == '\'';
        switch (*p) {
        case '<': return refuse(c, XMLC14N_TOKEN, p);
        case '&':
            if (!(p = scan_reference(c, p, stop, &code))) return NULL;
            break;
        case '\'':
        case '"':
        case '\t':
        case '\n':
        case '\r': p++; break;
        default: return refuse(c, XMLC14N_CHARACTER, p);
        }
    }
}

static bool put_value_character(xmlc14n *c, uint32_t code) {
    switch (code) {
    case '&': return put(c, "&amp;", 5);
    case '<': return put(c, "&lt;", 4);
    case '"': return put(c, "&quot;", 6);
    case '\t': return put(c, "&#x9;", 5);
    case '\n': return put(c, "&#xA;", 5);
    case '\r': return put(c, "&#xD;", 5);
    default: return put_character(c, code);
    }
}

/* Reads the next character of a value that was checked. White space that is no reference becomes a space. */
static const uint8_t *next_in_value(xmlc14n *c, const uint8_t *p, const uint8_t *end, uint32_t *code, bool *reference) {
    *reference = *p == '&';
    if (*reference) return scan_reference(c, p, end, code);
    *code = *p;
    if (is_space(*p)) {
        *code = ' ';
        return *p == '\r' ? behind_line_end(p, end) : p + 1;
    }
    return *p < 0x80 ? p + 1 : p + utf8_character(p, end, code);
}

bool put_value(xmlc14n *c, xmlc14n_text value) {
    const uint8_t *p = value.bytes, *end = p + value.n;
    while (p < end) {
        size_t run = c->kernel->value_run(p, (size_t)(end - p));
        if (!put(c, p, run)) return false;
        p += run;
        if (p == end) break;
        uint32_t code;
        bool reference;
        p = next_in_value(c, p, end, &code, &reference);
        if (!p || !put_value_character(c, code)) return false;
    }
    return true;
}

bool decode_value(xmlc14n *c, xmlc14n_text value, xmlc14n_text *decoded) {
    const uint8_t *p = value.bytes, *end = p + value.n;
    uint8_t *out = xml_alloc(&c->arena, value.n); /* a reference is longer than its character */
    if (!out) {
        refuse(c, XMLC14N_MEMORY, p);
        return false;
    }
    *decoded = (xmlc14n_text){out, 0};
    while (p < end) {
        uint32_t code;
        bool reference;
        p = next_in_value(c, p, end, &code, &reference);
        if (!p) return false;
        decoded->n += utf8_encode(code, out + decoded->n);
    }
    xml_shrink(&c->arena, out, value.n, decoded->n);
    return true;
}

bool is_wide_space(const uint8_t *p, size_t n, size_t *length) {
    uint32_t code;
    *length = n && *p >= 0x80 ? utf8_character(p, p + n, &code) : 0;
    if (!*length) return false;
    return code == 0x85 || code == 0xa0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000;
}
