/* Strict base64 (RFC 4648 section 4) for streams that may be cut at any character.
 *
 * The decoder skips line breaks (CR and LF), because MIME encoders write them. It refuses every other character outside
 * the alphabet, missing padding, padding over bits that are not zero ("QR=="), and data after the padding, and tells
 * the offset of the character. The encoder takes segments of any length and never joins them. Nothing here allocates
 * memory or does I/O. Only one thread at a time may use a decoder or an encoder. */
#ifndef BATCHSEAL_BASE64_H
#define BATCHSEAL_BASE64_H

#include <stdbool.h>

#include "base64/kernel.h"
#include "cpu/cpu.h"

typedef enum {
    BASE64_OK = 0,
    BASE64_FOREIGN_CHARACTER, /* a character that is neither in the alphabet nor '=' nor a line break */
    BASE64_AFTER_PADDING,     /* more characters after the padding */
    BASE64_PADDING_PLACE,     /* '=' in a place where no padding can be */
    BASE64_PADDING_BITS,      /* the bits that the padding leaves unused are not zero */
    BASE64_PADDING_MISSING,   /* the stream ends inside a quad */
} base64_status;

/* Describes a status in words that fit after "base64: ". */
const char *base64_status_text(base64_status status);

/* The kernel that an instruction set uses. */
const base64_kernel *base64_kernel_for(const cpu_isa *isa);

typedef struct {
    uint32_t bits;   /* the 6-bit values of the quad that is not complete; the latest is in the lowest bits */
    uint8_t sextets; /* how many values these are, 0 to 3 */
    uint8_t padding; /* how many '=' this quad has had */
    bool closed;     /* a quad with padding was completed, so nothing may follow */
} base64_decoder;

/* Decodes one character. Writes 0 to 3 bytes at dst and adds their number to *written. */
base64_status base64_decode_char(base64_decoder *d, uint8_t c, uint8_t *dst, size_t *written);

/* Decodes until the end, or up to the first character that is neither in the alphabet nor '='. dst must have room for
 * (sextets + n) / 4 * 3 + BASE64_DECODE_SLACK bytes. *taken is the number of characters that were decoded; after an
 * error it is the offset of the wrong character. */
base64_status base64_decode_run(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                uint8_t *dst, size_t *taken, size_t *written);

/* Does the same, but skips line breaks and refuses every other character. *taken is n unless there is an error. */
base64_status base64_decode_text(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                 uint8_t *dst, size_t *taken, size_t *written);

/* Call this at the end of the stream: it tells whether the last quad is complete. */
base64_status base64_decode_end(const base64_decoder *d);

typedef struct {
    uint8_t carry[3]; /* bytes that wait until three are together */
    uint8_t carried;  /* how many bytes wait, 0 to 2 */
} base64_encoder;

/* Exactly how many characters base64_encode_update() will write for n more bytes. */
size_t base64_encode_size(const base64_encoder *e, size_t n);
size_t base64_encode_update(base64_encoder *e, const base64_kernel *kernel, const uint8_t *src, size_t n, uint8_t *dst);
/* Writes the last quad with its padding, if bytes wait (0 or 4 characters). The encoder can then be used again. */
size_t base64_encode_finish(base64_encoder *e, uint8_t *dst);

#endif
