/* Strict base64 (RFC 4648 section 4) over streams cut anywhere.
 *
 * Decoding: line breaks (CR, LF) are skipped, as MIME encoders write them; everything else that is not in the alphabet,
 * missing padding, padding over non-zero bits ("QR==") and data after padding are refused, with the offset of the
 * character. Encoding: the stream may come in segments of any length; they are never joined. No allocation, no I/O; a
 * state belongs to one thread at a time. */
#ifndef BATCHSEAL_BASE64_H
#define BATCHSEAL_BASE64_H

#include <stdbool.h>

#include "base64/kernel.h"
#include "cpu/cpu.h"

typedef enum {
    BASE64_OK = 0,
    BASE64_FOREIGN_CHARACTER, /* neither alphabet nor padding nor line break */
    BASE64_AFTER_PADDING,     /* data after the end */
    BASE64_PADDING_PLACE,     /* '=' where no padding can stand */
    BASE64_PADDING_BITS,      /* the bits under the padding are not zero */
    BASE64_PADDING_MISSING,   /* the end came within a quad */
} base64_status;

/* What a status means, in words that fit after "base64: ". */
const char *base64_status_text(base64_status status);

/* The kernel that an instruction set runs. */
const base64_kernel *base64_kernel_for(const cpu_isa *isa);

typedef struct {
    uint32_t bits;   /* the sextets of the open quad, latest lowest */
    uint8_t sextets; /* 0..3 of them */
    uint8_t padding; /* '=' seen in the open quad */
    bool closed;     /* a padded quad was completed */
} base64_decoder;

/* One character. Writes 0 to 3 bytes at dst and adds them to *written. */
base64_status base64_decode_char(base64_decoder *d, uint8_t c, uint8_t *dst, size_t *written);

/* Takes characters until the end, or until the first that is neither in the alphabet nor '='; that one is not taken.
 * dst has room for (sextets + n) / 4 * 3 + BASE64_DECODE_SLACK bytes. On an error *taken is the offset of the
 * character. */
base64_status base64_decode_run(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                uint8_t *dst, size_t *taken, size_t *written);

/* The same, skipping line breaks and refusing all else: *taken is n unless there is an error. */
base64_status base64_decode_text(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                 uint8_t *dst, size_t *taken, size_t *written);

/* To be asked when the stream has ended. */
base64_status base64_decode_end(const base64_decoder *d);

typedef struct {
    uint8_t carry[3]; /* bytes that wait for a whole triple */
    uint8_t carried;  /* 0..2 of them */
} base64_encoder;

/* Characters that base64_encode_update() will write for n more bytes, exactly. */
size_t base64_encode_size(const base64_encoder *e, size_t n);
size_t base64_encode_update(base64_encoder *e, const base64_kernel *kernel, const uint8_t *src, size_t n, uint8_t *dst);
/* Writes the last, padded quad (0 or 4 characters) and starts anew. */
size_t base64_encode_finish(base64_encoder *e, uint8_t *dst);

#endif
