/* A growing text: the slow half of text_append(), whose fast half is in internal.h. */
#include "jsonscan/internal.h"

#include <stdlib.h>

bool text_grow(text *t, size_t more) {
    size_t capacity = t->capacity ? t->capacity : 1024;
    while (capacity - t->used < more) capacity *= 2; /* max_skeleton_bytes or a piece bounds it, so it can't overflow */
    uint8_t *data = realloc(t->data, capacity);
    if (!data) return false;
    t->data = data;
    t->capacity = capacity;
    return true;
}
