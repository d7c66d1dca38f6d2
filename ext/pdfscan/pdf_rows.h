/* The two forms in which pdfscan keeps the rows of an xref section. Internal to pdfscan.
 *
 *   text     20 bytes, as in the file (7.5.4):   "0000000016 00000 n\r\n"
 *   binary   as in an xref stream (7.5.8.3). Rows that pdfscan makes itself have widths 1, 8 and 4, 13 bytes in all:
 *            type, then offset or object stream, then generation or index; big-endian */
#ifndef BATCHSEAL_PDF_ROWS_H
#define BATCHSEAL_PDF_ROWS_H

#include "pdfscan/pdf_lexer.h"

enum { PDF_TEXT_ROW_BYTES = 20, PDF_TEXT_ENTRY_BYTES = 18, PDF_OWN_ROW_BYTES = 13 };

/* Whether a text row begins here. The two bytes at its end, which should be a line break, are not looked at. */
static inline bool pdf_is_text_entry(const uint8_t *row) {
    for (int i = 0; i < 16; i++)
        if (i != 10 && !pdf_is_digit(row[i])) return false;
    return row[10] == ' ' && row[16] == ' ' && (row[17] == 'n' || row[17] == 'f');
}

static inline bool pdf_is_text_row(const uint8_t *row) {
    return pdf_is_text_entry(row) && pdf_is_space(row[18]) && pdf_is_space(row[19]);
}

static inline uint64_t pdf_text_number(const uint8_t *at, unsigned digits) {
    uint64_t value = 0;
    while (digits--) value = value * 10 + (uint64_t)(uint8_t)(*at++ - '0');
    return value;
}

/* Writes one row of widths 1, 8 and 4. */
static inline void pdf_write_own_row(uint8_t row[PDF_OWN_ROW_BYTES], uint8_t type, uint64_t location, uint32_t generation) {
    row[0] = type;
    for (int b = 0; b < 8; b++) row[1 + b] = (uint8_t)(location >> (56 - 8 * b));
    for (int b = 0; b < 4; b++) row[9 + b] = (uint8_t)(generation >> (24 - 8 * b));
}

#endif
