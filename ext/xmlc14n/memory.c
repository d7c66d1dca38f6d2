/* What a canonicaliser holds, and whether one document adds too much to it. */
#include "xmlc14n/internal.h"

size_t xmlc14n_held_bytes(const xmlc14n *c) {
    return c->arena.held + c->prefixes.capacity * sizeof *c->prefixes.items +
           c->prefixes.slot_count * sizeof *c->prefixes.slots + c->uris.capacity * sizeof *c->uris.items +
           c->uris.slot_count * sizeof *c->uris.slots + c->binding_capacity * sizeof *c->bindings +
           c->ranked_capacity * sizeof *c->ranked +
           c->undo_binding_capacity * sizeof *c->undo_bindings + c->undo_written_capacity * sizeof *c->undo_written +
           c->attribute_capacity * sizeof *c->attributes + c->order_capacity * sizeof *c->order +
           c->id_capacity * sizeof *c->ids + c->signature_capacity * sizeof *c->signatures;
}

bool check_memory(xmlc14n *c, const uint8_t *p) {
    size_t held = xmlc14n_held_bytes(c);
    return held <= c->held_before || held - c->held_before <= c->limits.memory_bytes || refuse(c, XMLC14N_LIMIT_MEMORY, p);
}
