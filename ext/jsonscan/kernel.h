/* The contract of a scanning kernel, one implementation in each arch/<isa>/kernel.c. */
#ifndef BATCHSEAL_JSONSCAN_KERNEL_H
#define BATCHSEAL_JSONSCAN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* copy_run stores whole registers: it may write this many bytes beyond what it copied. */
#define JSONSCAN_COPY_SLACK 64

typedef struct jsonscan_kernel {
    const char *name;
    /* Leading bytes of a string that stand for themselves: 0x20..0x7f but '"' and '\'. */
    size_t (*plain_run)(const uint8_t *src, size_t n);
    /* Copies bytes up to the first '"' or '\' and returns how many. dst has room for n + JSONSCAN_COPY_SLACK bytes. */
    size_t (*copy_run)(const uint8_t *src, size_t n, uint8_t *dst);
} jsonscan_kernel;

extern const jsonscan_kernel jsonscan_kernel_portable;
extern const jsonscan_kernel jsonscan_kernel_avx2;
extern const jsonscan_kernel jsonscan_kernel_avx512;

#endif
