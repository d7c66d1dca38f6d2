/* Hands over the canonical form when there is no room for more. */
#include "xmlc14n/internal.h"

/* What is hidden is written and then taken back, so that it is read by the same code as everything else. */
void hide(xmlc14n *c) {
    c->hidden = true;
    c->hidden_from = c->out.used;
}

void unhide(xmlc14n *c) {
    c->hidden = false;
    c->out.used = c->hidden_from;
}

void cap_output(xmlc14n *c) {
    uint64_t most = c->most_bytes - c->drained + XMLC14N_ROOM;
    if (c->out.capacity > most) c->out.capacity = most;
}

bool check_output(xmlc14n *c) {
    uint64_t bytes = c->drained + c->out.used;
    if (bytes <= c->most_bytes) return true;
    return refuse(c, bytes > c->limits.output_bytes ? XMLC14N_LIMIT_OUTPUT : XMLC14N_LIMIT_FACTOR, c->document);
}

bool drain(xmlc14n *c) {
    if (c->hidden) {
        c->out.used = c->hidden_from;
        if (c->out.capacity - c->out.used >= XMLC14N_ROOM) return true;
    }
    size_t before = c->out.used;
    if (!check_output(c)) return false;
    xmlc14n_status status = c->out.drain(&c->out);
    if (status == XMLC14N_OK && c->out.capacity - c->out.used < XMLC14N_ROOM) status = XMLC14N_OUTPUT;
    if (status != XMLC14N_OK) {
        refuse(c, status, c->document);
        return false;
    }
    c->drained += before - c->out.used;
    cap_output(c);
    c->hidden_from = c->out.used;
    return true;
}

bool put_long(xmlc14n *c, const uint8_t *bytes, size_t n) {
    while (n) {
        if (!room(c, 1)) return false;
        size_t part = c->out.capacity - c->out.used;
        if (part > n) part = n;
        memcpy(c->out.bytes + c->out.used, bytes, part);
        c->out.used += part;
        bytes += part;
        n -= part;
    }
    return true;
}
