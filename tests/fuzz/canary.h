/* A planted bug, compiled in with -DCANARY only: a harness that does not find it finds nothing. */
#ifndef BATCHSEAL_FUZZ_CANARY_H
#define BATCHSEAL_FUZZ_CANARY_H

#include <stdint.h>
#include <stdlib.h>

static void canary(const uint8_t *data, size_t size) __attribute__((noinline, unused));

static void canary(const uint8_t *data, size_t size) {
#ifdef CANARY
    if (size < 4 || data[0] != '~') return;
    volatile uint8_t *block = malloc(size);
    block[size] = 1; /* one behind its end */
    free((void *)block);
#else
    (void)data, (void)size;
#endif
}

#endif
