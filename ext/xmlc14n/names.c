/* Names (XML 1.0 2.3, fourth edition; Namespaces in XML 1.0 4). */
#include "xmlc14n/internal.h"
#include "xmlc14n/name_ranges.h"
#include "xmlc14n/utf8.h"

enum { OTHER, NAME, START }; /* of a byte: not in names, in names but not at their start, both; beyond ASCII is OTHER */

enum { STARTS = sizeof NAME_STARTS / sizeof NAME_STARTS[0], REST = sizeof NAME_REST / sizeof NAME_REST[0] };

static const uint8_t CLASS[256] = {
    ['-'] = NAME,  ['.'] = NAME,  ['0'] = NAME,  ['1'] = NAME,  ['2'] = NAME,  ['3'] = NAME,  ['4'] = NAME,
    ['5'] = NAME,  ['6'] = NAME,  ['7'] = NAME,  ['8'] = NAME,  ['9'] = NAME,  ['A'] = START, ['B'] = START,
    ['C'] = START, ['D'] = START, ['E'] = START, ['F'] = START, ['G'] = START, ['H'] = START, ['I'] = START,
    ['J'] = START, ['K'] = START, ['L'] = START, ['M'] = START, ['N'] = START, ['O'] = START, ['P'] = START,
    ['Q'] = START, ['R'] = START, ['S'] = START, ['T'] = START, ['U'] = START, ['V'] = START, ['W'] = START,
    ['X'] = START, ['Y'] = START, ['Z'] = START, ['_'] = START, ['a'] = START, ['b'] = START, ['c'] = START,
    ['d'] = START, ['e'] = START, ['f'] = START, ['g'] = START, ['h'] = START, ['i'] = START, ['j'] = START,
    ['k'] = START, ['l'] = START, ['m'] = START, ['n'] = START, ['o'] = START, ['p'] = START, ['q'] = START,
    ['r'] = START, ['s'] = START, ['t'] = START, ['u'] = START, ['v'] = START, ['w'] = START, ['x'] = START,
    ['y'] = START, ['z'] = START,
};

static bool is_in(uint32_t code, const uint16_t (*ranges)[2], size_t count) {
    size_t low = 0; /* the first range that does not end before the character */
    while (count) {
        size_t half = count / 2;
        if (ranges[low + half][1] < code) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return ranges[low][0] <= code && code <= ranges[low][1];
}

/* The length of the character at p if it is one of a name; else 0. */
static inline unsigned wide_character(const uint8_t *p, const uint8_t *stop, bool starts) {
    uint32_t code;
    if (LIKELY(*p < 0x80)) return 0;
    unsigned length = utf8_character(p, stop, &code);
    if (!length || code > NAME_STARTS[STARTS - 1][1]) return 0; /* both tables are searched below their ends only */
    if (is_in(code, NAME_STARTS, STARTS)) return length;
    return !starts && code <= NAME_REST[REST - 1][1] && is_in(code, NAME_REST, REST) ? length : 0;
}

/* Skips what is ASCII. */
static inline const uint8_t *skip_narrow(const uint8_t *p, const uint8_t *stop) {
    while (p < stop && CLASS[*p]) p++;
    return p;
}

const uint8_t *scan_ncname(xmlc14n *c, const uint8_t *p, const uint8_t *stop) {
    if (UNLIKELY(p == stop)) return refuse_end(c, p);
    if (LIKELY(CLASS[*p] == START)) {
        p++;
    } else {
        unsigned length = wide_character(p, stop, true);
        if (!length) return refuse(c, XMLC14N_TOKEN, p);
        p += length;
    }
    for (;;) {
        p = skip_narrow(p, stop);
        if (UNLIKELY(p == stop)) return refuse_end(c, p);
        unsigned length = wide_character(p, stop, false);
        if (LIKELY(!length)) return p;
        p += length;
    }
}

const uint8_t *scan_qname(xmlc14n *c, const uint8_t *p, const uint8_t *stop, const uint8_t **colon) {
    *colon = NULL;
    p = scan_ncname(c, p, stop);
    if (!p || *p != ':') return p;
    *colon = p;
    p = scan_ncname(c, p + 1, stop);
    return p && *p == ':' ? refuse(c, XMLC14N_TOKEN, p) : p;
}
