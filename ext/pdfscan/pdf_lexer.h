/* Values as ranges of bytes (ISO 32000-2 7.2, 7.3): nothing is built, a dictionary is read where it lies. */
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

/* Past white space and comments. */
const uint8_t *pdf_skip_space(const uint8_t *at, const uint8_t *end);

/* Moves `*at` past one value, a reference counting as one. On false `*at` is where reading stopped: malformed, cut off, or
 * nested deeper than max_depth (`*too_deep`). */
bool pdf_skip_value(const uint8_t **at, const uint8_t *end, unsigned max_depth, bool *too_deep);

/* Stricter than skipping: keys are names and have values, everything else is a token of the language. */
bool pdf_well_formed(pdf_span value);

/* Past `word` when it stands at `at` as a whole token, else NULL. */
const uint8_t *pdf_skip_word(const uint8_t *at, const uint8_t *end, const char *word);

/* Past an unsigned number of at most 19 digits, else NULL. */
const uint8_t *pdf_skip_number(const uint8_t *at, const uint8_t *end, uint64_t *value);

/* Past "num gen obj", else NULL. */
const uint8_t *pdf_skip_header(const uint8_t *at, const uint8_t *end, uint64_t *num, uint64_t *gen);

pdf_kind pdf_kind_of(pdf_span value);
bool pdf_to_integer(pdf_span value, int64_t *result);
bool pdf_to_ref(pdf_span value, uint32_t *num, uint32_t *gen);
bool pdf_name_is(pdf_span value, const char *name);

/* Members of an array, or of a dictionary as key and value; spans must have passed pdf_skip_value. */
typedef struct {
    const uint8_t *at, *end;
} pdf_members;

pdf_members pdf_open(pdf_span container);
bool pdf_next(pdf_members *members, pdf_span *value);
bool pdf_next_pair(pdf_members *members, pdf_span *key, pdf_span *value);

/* The value of the first such key; empty, which is null, when there is none. */
bool pdf_get(pdf_span dict, const char *key, pdf_span *value);

/* The first occurrence of a word between at and end, or NULL. */
const uint8_t *pdf_find(const uint8_t *at, const uint8_t *end, const char *word);
const uint8_t *pdf_find_last(const uint8_t *at, const uint8_t *end, const char *word);

#endif
