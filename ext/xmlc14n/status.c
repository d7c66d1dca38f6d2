/* Refusals: which there are, with the words for a person, and where the first one was. {limit} in the words stands for
 * the limit that was exceeded, {detail} for the detail of the result, {detail!r} for that in quotes. */
#include "xmlc14n/internal.h"

static const struct {
    const char *code, *message;
} STATUSES[XMLC14N_STATUSES] = {
    [XMLC14N_OK] = {"", ""},
    [XMLC14N_EMPTY] = {"not_well_formed", "no element found"},
    [XMLC14N_TOKEN] = {"not_well_formed", "not well-formed (invalid token)"},
    [XMLC14N_CUT] = {"not_well_formed", "the document ends in the middle"},
    [XMLC14N_CHARACTER] = {"not_well_formed", "a character that XML does not allow"},
    [XMLC14N_UTF8] = {"not_well_formed", "bytes that are not UTF-8, or a character that XML does not allow"},
    [XMLC14N_MISMATCH] = {"not_well_formed", "mismatched tag"},
    [XMLC14N_DUPLICATE_ATTRIBUTE] = {"not_well_formed", "duplicate attribute"},
    [XMLC14N_BEHIND_ROOT] = {"not_well_formed", "junk after document element"},
    [XMLC14N_ENTITY] = {"not_well_formed", "undefined entity"},
    [XMLC14N_REFERENCE] = {"not_well_formed", "reference to invalid character number"},
    [XMLC14N_DECLARATION] = {"not_well_formed", "XML declaration not well-formed"},
    [XMLC14N_LATE_DECLARATION] = {"not_well_formed", "XML or text declaration not at start of entity"},
    [XMLC14N_UNBOUND] = {"not_well_formed", "unbound prefix"},
    [XMLC14N_UNDECLARED] = {"not_well_formed", "must not undeclare prefix"},
    [XMLC14N_RESERVED] = {"not_well_formed", "a reserved prefix or namespace name is declared"},
    [XMLC14N_DOCTYPE] = {"doctype", "the document has a DOCTYPE, which is not signed: verifiers read it differently"},
    [XMLC14N_VERSION] = {"version", "the document is XML {detail}; only XML 1.0 is signed"},
    [XMLC14N_ENCODING] = {"encoding", "the document is not UTF-8, as it says of itself"},
    [XMLC14N_RELATIVE] = {"relative_namespace", "the namespace {detail!r} is not an absolute URI"},
    [XMLC14N_AMPERSAND] = {"namespace_ampersand", "the namespace {detail!r} has a '&', which verifiers write differently"},
    [XMLC14N_DUPLICATE_ID] = {"duplicate_id", "the id {detail!r} occurs twice"},
    [XMLC14N_LIMIT_DEPTH] = {"limit_depth", "elements are nested more than {limit} deep"},
    [XMLC14N_LIMIT_ATTRIBUTES] = {"limit_attributes", "an element has more than {limit} attributes"},
    [XMLC14N_LIMIT_NAMESPACES] = {"limit_namespaces", "more than {limit} namespaces are declared at the same time"},
    [XMLC14N_LIMIT_NODES] = {"limit_nodes", "the document has more than {limit} elements and attributes"},
    [XMLC14N_LIMIT_FURTHER] = {"limit_further_nodes",
                               "the document has more than {limit} texts, comments, processing instructions and namespace "
                               "declarations"},
    [XMLC14N_LIMIT_ATTRIBUTE_NAMESPACES] = {"limit_attribute_namespaces", "attributes belong to more than {limit} namespaces"},
    [XMLC14N_LIMIT_TAG] = {"limit_tag", "a tag, comment or processing instruction is longer than {limit}"},
    [XMLC14N_LIMIT_OUTPUT] = {"limit_output", "the canonical form is longer than {limit}"},
    [XMLC14N_LIMIT_FACTOR] = {"limit_factor", "the canonical form is more than {limit} times as long as the document, since it "
                                              "declares namespaces again and again"},
    [XMLC14N_LIMIT_MEMORY] = {"limit_memory", "reading the document takes more than {limit} of memory"},
    [XMLC14N_MEMORY] = {"no_memory", "there was not enough memory for the canonical form"},
    [XMLC14N_OUTPUT] = {"output", "the canonical form could not be handed over"},
};

const char *xmlc14n_status_code(xmlc14n_status status) { return STATUSES[status < XMLC14N_STATUSES ? status : 0].code; }
const char *xmlc14n_status_message(xmlc14n_status status) {
    return STATUSES[status < XMLC14N_STATUSES ? status : 0].message;
}

void xmlc14n_position(xmlc14n_text document, uint64_t offset, uint64_t *line, uint64_t *column) {
    const uint8_t *start = document.bytes, *end = start + (offset < document.n ? offset : document.n);
    *line = *column = 1;
    for (const uint8_t *p = start; p < end; p++) {
        if (*p == '\n' || *p == '\r') {
            *line += *p == '\r' || p == start || p[-1] != '\r'; /* both together are one line end */
            *column = 1;
        } else {
            *column += (*p & 0xc0) != 0x80;
        }
    }
}

const uint8_t *refuse(xmlc14n *c, xmlc14n_status status, const uint8_t *p) {
    if (c->status == XMLC14N_OK) {
        c->status = status;
        c->refused_at = p;
    }
    return NULL;
}

const uint8_t *refuse_text(xmlc14n *c, xmlc14n_status status, const uint8_t *p, xmlc14n_text detail) {
    if (c->status == XMLC14N_OK) c->result->detail = detail;
    return refuse(c, status, p);
}

const uint8_t *refuse_end(xmlc14n *c, const uint8_t *p) {
    return refuse(c, p == c->end ? XMLC14N_CUT : XMLC14N_LIMIT_TAG, p);
}
