/* The values of PDF as ranges of bytes (ISO 32000-2 7.2, 7.3). No tree is built: each question about a dictionary or an
 * array reads its bytes again. */
#ifndef BATCHSEAL_PDF_LEXER_H
#define BATCHSEAL_PDF_LEXER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const uint8_t *at, *end;
} pdf_span;

typedef enum { PDF_NULL, PDF_BOOLEAN, PDF_NUMBER, PDF_STRING, PDF_NAME, PDF_ARRAY, PDF_DICT, PDF_REF, PDF_JUNK } pdf_kind;

enum { PDF_MAX_DEPTH = 500 };

bool pdf_is_space(uint8_t c);
bool pdf_is_regular(uint8_t c);
static inline bool pdf_is_digit(uint8_t c) { return (uint8_t)(c - '0') < 10; }

/* The value of a hexadecimal digit, or -1. */
int pdf_hex_digit(uint8_t c);

/* Skips white space and comments, and returns the position behind them. */
const uint8_t *pdf_skip_space(const uint8_t *at, const uint8_t *end);

/* Moves `*at` behind one value. A reference such as "1 0 R" is one value. Returns false if the value is malformed, is
 * cut off, or is nested deeper than max_depth (then *too_deep is set); `*at` is where reading stopped. */
bool pdf_skip_value(const uint8_t **at, const uint8_t *end, unsigned max_depth, bool *too_deep);

/* Checks more than pdf_skip_value(): every key is a name and has a value, and everything else is a token that readers
 * take. Numbers that only readers tolerate are among these: 1e-05, NaN, -inf, 0,5. */
bool pdf_well_formed(pdf_span value);

/* Skip a word that is a whole token, an unsigned number of at most 19 digits, or "num gen obj". Each returns the
 * position behind what it skips, or NULL if that is not there. */
const uint8_t *pdf_skip_word(const uint8_t *at, const uint8_t *end, const char *word);
const uint8_t *pdf_skip_number(const uint8_t *at, const uint8_t *end, uint64_t *value);
const uint8_t *pdf_skip_header(const uint8_t *at, const uint8_t *end, uint64_t *num, uint64_t *gen);

pdf_kind pdf_kind_of(pdf_span value);
bool pdf_to_integer(pdf_span value, int64_t *result);
bool pdf_to_ref(pdf_span value, uint32_t *num, uint32_t *gen);
bool pdf_name_is(pdf_span value, const char *name);

/* Reads the members of an array, or of a dictionary as keys and values. pdf_skip_value() must have accepted the
 * value. */
typedef struct {
    const uint8_t *at, *end;
} pdf_members;

pdf_members pdf_open(pdf_span container);
bool pdf_next(pdf_members *members, pdf_span *value);
bool pdf_next_pair(pdf_members *members, pdf_span *key, pdf_span *value);

/* Finds the value of the last entry with this key, as most readers do where a key stands twice. If there is no entry, the
 * value is empty, which means null. */
bool pdf_get(pdf_span dict, const char *key, pdf_span *value);

/* The same for several keys at once. Returns a number whose bit i is set if keys[i] stands more than once with values that
 * differ. Readers then disagree on which one counts. */
unsigned pdf_get_each(pdf_span dict, const char *const *keys, pdf_span *values, unsigned n);

/* Find the first or the last occurrence of `word` between at and end. Return NULL if there is none. */
const uint8_t *pdf_find(const uint8_t *at, const uint8_t *end, const char *word);
const uint8_t *pdf_find_last(const uint8_t *at, const uint8_t *end, const char *word);

#endif
