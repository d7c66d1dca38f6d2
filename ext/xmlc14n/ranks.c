/* The order of namespace names, by which attributes are sorted (Canonical XML 1.0 2.2).
 *
 * Names are compared once, when they get their rank, and attributes by the ranks. A few names that are as long as the document
 * would otherwise be compared for every pair of attributes of every element. */
#include "xmlc14n/internal.h"

bool rank_uri(xmlc14n *c, uint32_t uri, const uint8_t *p) {
    interned *names = c->uris.items;
    if (LIKELY(names[uri].rank)) return true;
    if (c->ranked_count >= c->limits.attribute_namespaces) return refuse(c, XMLC14N_LIMIT_ATTRIBUTE_NAMESPACES, p);
    if (!XML_ROOM(c->ranked, c->ranked_count, c->ranked_capacity)) return refuse(c, XMLC14N_MEMORY, p);
    size_t low = 0, high = c->ranked_count; /* it comes at or behind low, and not behind high */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_texts(names[c->ranked[middle]].name, names[uri].name) < 0) low = middle + 1;
        else high = middle;
    }
    memmove(c->ranked + low + 1, c->ranked + low, (c->ranked_count - low) * sizeof *c->ranked);
    c->ranked[low] = uri;
    c->ranked_count++;
    for (size_t i = low; i < c->ranked_count; i++) names[c->ranked[i]].rank = (uint32_t)i + 1;
    return true;
}
