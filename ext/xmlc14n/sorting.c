/* Sorts numbers: by insertion where there are few, else a heap, whose time no input can make quadratic. */
#include "xmlc14n/internal.h"

enum { FEW = 16 };

static void sift_down(uint32_t *numbers, size_t n, size_t at, bool (*before)(const void *, uint32_t, uint32_t),
                      const void *context) {
    uint32_t moving = numbers[at];
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(context, numbers[child], numbers[child + 1])) child++;
        if (!before(context, moving, numbers[child])) break;
        numbers[at] = numbers[child];
    }
    numbers[at] = moving;
}

void sort_numbers(uint32_t *numbers, size_t n, bool (*before)(const void *context, uint32_t a, uint32_t b),
                  const void *context) {
    if (n <= FEW) {
        for (size_t i = 1; i < n; i++) {
            uint32_t moving = numbers[i];
            size_t at = i;
            for (; at > 0 && before(context, moving, numbers[at - 1]); at--) numbers[at] = numbers[at - 1];
            numbers[at] = moving;
        }
        return;
    }
    for (size_t i = n / 2; i-- > 0;) sift_down(numbers, n, i, before, context);
    for (size_t left = n; left-- > 1;) {
        uint32_t last = numbers[left];
        numbers[left] = numbers[0];
        numbers[0] = last;
        sift_down(numbers, left, 0, before, context);
    }
}

bool order_room(xmlc14n *c, size_t count) {
    while (c->order_capacity < count)
        if (!xml_grow(&c->order, &c->order_capacity, c->order_capacity, sizeof *c->order))
            return refuse(c, XMLC14N_MEMORY, c->document);
    return true;
}
