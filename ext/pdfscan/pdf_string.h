/* Reads and writes the bytes of string objects (ISO 32000-2 7.3.4). Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_STRING_H
#define BATCHSEAL_PDF_STRING_H

#include "pdfscan/pdf_arena.h"
#include "pdfscan/pdf_lexer.h"

/* Decodes a string object, at most `room` bytes of it. Returns the number of bytes, 0 for a value that is no string. A string
 * never has more bytes than its object. */
size_t pdf_decode_string(pdf_span value, uint8_t *out, size_t room);

/* Writes "<...>" with the hexadecimal digits of the bytes. */
void pdf_put_hex_string(pdf_buffer *out, const uint8_t *bytes, size_t n);

#endif
