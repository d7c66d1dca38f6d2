/* What a kernel of the canonicaliser must do. Each arch/<isa>/kernel.c is one implementation. */
#ifndef BATCHSEAL_XMLC14N_KERNEL_H
#define BATCHSEAL_XMLC14N_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* A kernel stores whole registers, so copy_text() may write up to this many bytes behind the copied ones. */
#define XMLC14N_SLACK 64

typedef struct xmlc14n_kernel {
    const char *name;
    /* Copies the bytes at the start of src that are the same in the canonical form: ASCII without '<', '>', '&', and
     * without control characters other than tab and newline. Returns their number. dst must have room for n +
     * XMLC14N_SLACK bytes. */
    size_t (*copy_text)(const uint8_t *src, size_t n, uint8_t *dst);
    /* Counts the bytes at the start of src that need no attention in an attribute value: 0x20 to 0x7f without both
     * quotes, '<' and '&'. */
    size_t (*value_run)(const uint8_t *src, size_t n);
} xmlc14n_kernel;

extern const xmlc14n_kernel xmlc14n_kernel_portable;
extern const xmlc14n_kernel xmlc14n_kernel_avx2;
extern const xmlc14n_kernel xmlc14n_kernel_avx512;

#endif
