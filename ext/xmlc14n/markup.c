/* Comments, processing instructions, CDATA sections and the XML declaration (XML 1.0 2.5 to 2.8).
 *
 * Before the root each of them is followed by a newline in the canonical form, and behind it preceded by one
 * (Canonical XML 1.0 2.3). */
#include "xmlc14n/internal.h"

typedef enum { BEFORE_ROOT, IN_ROOT, BEHIND_ROOT } markup_place;

static markup_place place_of(const xmlc14n *c) {
    return c->depth ? IN_ROOT : c->element_number ? BEHIND_ROOT : BEFORE_ROOT;
}

/* The start of the first `last` that follows two bytes `before`, or NULL; p is where the second `before` may be first. */
static const uint8_t *find_end(const uint8_t *p, const uint8_t *stop, uint8_t before, uint8_t last) {
    const uint8_t *from = p;
    while (p < stop && (p = memchr(p, last, (size_t)(stop - p)))) {
        if (p - from >= 2 && p[-1] == before && p[-2] == before) return p - 2;
        p++;
    }
    return NULL;
}

/* Writes what is not an element: `open`, a text in which only line ends change, `close`. */
static bool put_markup(xmlc14n *c, const char *open, const uint8_t *p, const uint8_t *end, const char *close) {
    markup_place place = place_of(c);
    if (place == BEHIND_ROOT && !put(c, "\n", 1)) return false;
    if (!put(c, open, strlen(open)) || !text_verbatim(c, p, end) || !put(c, close, strlen(close))) return false;
    return place != BEFORE_ROOT || put(c, "\n", 1);
}

const uint8_t *scan_comment(xmlc14n *c, const uint8_t *p) {
    const uint8_t *stop = stop_of(c, p), *text = p + 4, *end = text;
    for (;; end++) { /* the first "--" must be that of the end */
        end = end < stop ? memchr(end, '-', (size_t)(stop - end)) : NULL;
        if (!end || stop - end < 3) return refuse_end(c, stop);
        if (end[1] == '-') break;
    }
    if (end[2] != '>') return refuse(c, XMLC14N_TOKEN, end);
    if (!count_further(c, p)) return NULL;
    bool hides = !c->hidden && !c->options->with_comments;
    if (hides) hide(c);
    if (!put_markup(c, "<!--", text, end, "-->")) return NULL;
    if (hides) unhide(c);
    return end + 3;
}

const uint8_t *scan_instruction(xmlc14n *c, const uint8_t *p) {
    const uint8_t *stop = stop_of(c, p), *target = p + 2, *data = scan_ncname(c, target, stop);
    if (!data) return NULL;
    if (data - target == 3 && (target[0] | 0x20) == 'x' && (target[1] | 0x20) == 'm' && (target[2] | 0x20) == 'l')
        return refuse(c, XMLC14N_LATE_DECLARATION, p);
    xmlc14n_text name = {target, (size_t)(data - target)};
    const uint8_t *end = data;
    for (;; end++) {
        end = end < stop ? memchr(end, '?', (size_t)(stop - end)) : NULL;
        if (!end || stop - end < 2) return refuse_end(c, stop);
        if (end[1] == '>') break;
    }
    if (end != data && !is_space(*data)) return refuse(c, XMLC14N_TOKEN, data);
    if (!count_further(c, p)) return NULL;
    data = skip_space(data, end);
    markup_place place = place_of(c);
    if (place == BEHIND_ROOT && !put(c, "\n", 1)) return NULL;
    if (!put(c, "<?", 2) || !put_text(c, name)) return NULL;
    if (data != end && (!put(c, " ", 1) || !text_verbatim(c, data, end))) return NULL;
    if (!put(c, "?>", 2) || (place == BEFORE_ROOT && !put(c, "\n", 1))) return NULL;
    return end + 2;
}

const uint8_t *scan_cdata(xmlc14n *c, const uint8_t *p) {
    const uint8_t *text = p + 9, *end = find_end(text, c->end, ']', '>');
    if (!end) return refuse(c, XMLC14N_CUT, c->end);
    if (!count_further(c, p)) return NULL;
    return text_cdata(c, text, end) ? end + 3 : NULL;
}

/* --- the XML declaration ------------------------------------------------------------------------------------------- */

/* Reads ` name = "value"`. Returns NULL without a refusal if the name is another one. */
static const uint8_t *scan_pseudo(xmlc14n *c, const uint8_t *p, const uint8_t *stop, const char *name, xmlc14n_text *value) {
    size_t n = strlen(name);
    const uint8_t *at = skip_space(p, stop);
    if (at == p || (size_t)(stop - at) < n || memcmp(at, name, n) != 0) return NULL;
    at = skip_space(at + n, stop);
    if (at == stop || *at != '=') return refuse(c, XMLC14N_DECLARATION, at);
    at = skip_space(at + 1, stop);
    if (at == stop || (*at != '"' && *at != '\'')) return refuse(c, XMLC14N_DECLARATION, at);
    const uint8_t *end = memchr(at + 1, *at, (size_t)(stop - at - 1));
    if (!end) return refuse(c, XMLC14N_DECLARATION, at);
    *value = (xmlc14n_text){at + 1, (size_t)(end - at - 1)};
    return end + 1;
}

static bool is_letter(uint8_t b) { return (b | 0x20) >= 'a' && (b | 0x20) <= 'z'; }

/* The characters of versions and of encodings: letters, digits, and a few others. */
static bool is_word(xmlc14n_text word) {
    for (size_t i = 0; i < word.n; i++) {
        uint8_t b = word.bytes[i];
        if (!is_letter(b) && !(b >= '0' && b <= '9') && b != '.' && b != '_' && b != '-') return false;
    }
    return word.n > 0;
}

/* Expects the name of an encoding, in which 0x20 is a matter of capitals or set anyway. */
static bool is_utf8_name(xmlc14n_text name) {
    if (name.n != 5) return false;
    for (size_t i = 0; i < 5; i++)
        if ((name.bytes[i] | 0x20) != "utf-8"[i]) return false;
    return true;
}

const uint8_t *scan_declaration(xmlc14n *c, const uint8_t *p) {
    const uint8_t *stop = memchr(p, '>', (size_t)(c->end - p)), *at, *next;
    xmlc14n_text value;
    if (!stop || stop[-1] != '?' || stop - p < 7) return refuse(c, XMLC14N_DECLARATION, p);
    stop--;
    if (!(at = scan_pseudo(c, p + 5, stop, "version", &value))) return refuse(c, XMLC14N_DECLARATION, p);
    if (!is_word(value)) return refuse(c, XMLC14N_DECLARATION, value.bytes);
    if (!same_text(value, "1.0", 3)) return refuse_text(c, XMLC14N_VERSION, value.bytes, value);
    if ((next = scan_pseudo(c, at, stop, "encoding", &value))) {
        if (!is_word(value) || !is_letter(*value.bytes)) return refuse(c, XMLC14N_DECLARATION, value.bytes);
        if (!c->options->any_encoding && !is_utf8_name(value)) return refuse_text(c, XMLC14N_ENCODING, value.bytes, value);
        at = next;
    }
    if ((next = scan_pseudo(c, at, stop, "standalone", &value))) {
        if (!same_text(value, "yes", 3) && !same_text(value, "no", 2)) return refuse(c, XMLC14N_DECLARATION, value.bytes);
        at = next;
    }
    return c->status == XMLC14N_OK && skip_space(at, stop) == stop ? stop + 2 : refuse(c, XMLC14N_DECLARATION, at);
}
