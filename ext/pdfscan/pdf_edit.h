/* Changes entries of dictionaries and elements of arrays, and copies everything else byte for byte. Internal to
 * pdfscan. */
#ifndef BATCHSEAL_PDF_EDIT_H
#define BATCHSEAL_PDF_EDIT_H

#include "pdfscan/pdf_arena.h"
#include "pdfscan/pdf_lexer.h"

/* An entry of a dictionary, and the text that becomes its value. */
typedef struct {
    const char *key;
    pdf_buffer value;
} pdf_change;

enum { PDF_MAX_CHANGES = 4 };

void pdf_put_ref(pdf_buffer *out, uint64_t num, uint64_t gen);

/* Writes the dictionary with the changes. Each changed key stands in the result once, even if it stood twice before, so
 * that all readers take the same value. */
void pdf_put_changed(pdf_buffer *out, pdf_span dict, const pdf_change *changes, unsigned n);

/* Writes `array` with a reference to object `num` added at the end, or a new array if it is none. */
void pdf_put_extended(pdf_buffer *out, pdf_span array, uint32_t num);

#endif
