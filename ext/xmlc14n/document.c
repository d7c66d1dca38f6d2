/* The whole document: what is before the root, the root, what is behind it (XML 1.0 2.1, 2.8, 3). */
#include "xmlc14n/internal.h"

static bool follows(const xmlc14n *c, const uint8_t *p, const char *text) {
    size_t n = strlen(text);
    return (size_t)(c->end - p) >= n && memcmp(p, text, n) == 0;
}

/* A byte order mark. UTF-16 is told by its own, or by the zeros of ASCII; it must be transcoded before. */
static const uint8_t *scan_mark(xmlc14n *c, const uint8_t *p) {
    if (follows(c, p, "\xef\xbb\xbf")) return p + 3;
    if (follows(c, p, "\xff\xfe") || follows(c, p, "\xfe\xff")) return refuse(c, XMLC14N_ENCODING, p);
    if (c->end - p >= 2 && (!p[0] || !p[1])) return refuse(c, XMLC14N_ENCODING, p);
    return p;
}

/* Reads what may stand outside the root, up to the first tag or the end. */
static const uint8_t *scan_misc(xmlc14n *c, const uint8_t *p) {
    xmlc14n_status otherwise = c->element_number ? XMLC14N_BEHIND_ROOT : XMLC14N_TOKEN;
    while (p) {
        p = skip_space(p, c->end);
        if (p == c->end) return p;
        if (*p != '<') return refuse(c, otherwise, p);
        if (follows(c, p, "<!--")) p = scan_comment(c, p);
        else if (follows(c, p, "<?")) p = scan_instruction(c, p);
        else if (follows(c, p, "<!DOCTYPE")) return refuse(c, XMLC14N_DOCTYPE, p);
        else if (follows(c, p, "<!") || follows(c, p, "</")) return refuse(c, otherwise, p);
        else return p;
    }
    return NULL;
}

static const uint8_t *scan_other(xmlc14n *c, const uint8_t *p) {
    if (follows(c, p, "<!--")) return scan_comment(c, p);
    if (follows(c, p, "<![CDATA[")) return scan_cdata(c, p);
    return refuse(c, XMLC14N_TOKEN, p);
}

static const uint8_t *scan_root(xmlc14n *c, const uint8_t *p) {
    p = scan_start_tag(c, p);
    while (p && c->depth) {
        if (p < c->end && *p != '<' && (!count_further(c, p) || !(p = text_content(c, p, c->end)))) return NULL;
        if (c->end - p < 2) return refuse(c, XMLC14N_CUT, c->end);
        switch (p[1]) {
        case '/': p = scan_end_tag(c, p); break;
        case '?': p = scan_instruction(c, p); break;
        case '!': p = scan_other(c, p); break;
        default: p = scan_start_tag(c, p);
        }
    }
    return p;
}

const uint8_t *scan_document(xmlc14n *c, const uint8_t *p) {
    if (!(p = scan_mark(c, p))) return NULL;
    if (follows(c, p, "<?xml") && c->end - p > 5 && is_space(p[5]) && !(p = scan_declaration(c, p))) return NULL;
    if (!(p = scan_misc(c, p))) return NULL;
    if (p == c->end) return refuse(c, XMLC14N_EMPTY, p);
    if (!(p = scan_root(c, p)) || !(p = scan_misc(c, p))) return NULL;
    return p == c->end ? p : refuse(c, XMLC14N_BEHIND_ROOT, p);
}
