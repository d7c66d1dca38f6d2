/* Selects the kernel, and handles what kernels do not: quads that are cut, padding, and what to refuse. */
#include "base64/base64.h"

#include <string.h>

/* Best first. An instruction set uses the first kernel whose needs it fulfils. */
static const struct {
    uint32_t needs;
    const base64_kernel *kernel;
} KERNELS[] = {
#if defined(__x86_64__)
    {CPU_AVX512, &base64_kernel_avx512},
    {CPU_AVX2, &base64_kernel_avx2},
#endif
    {0, &base64_kernel_portable},
};

const base64_kernel *base64_kernel_for(const cpu_isa *isa) {
    size_t i = 0;
    while ((KERNELS[i].needs & ~isa->needs) != 0) i++;
    return KERNELS[i].kernel;
}

const char *base64_status_text(base64_status status) {
    switch (status) {
    case BASE64_OK: return "no fault";
    case BASE64_FOREIGN_CHARACTER: return "a character outside the alphabet";
    case BASE64_AFTER_PADDING: return "data after the padding";
    case BASE64_PADDING_PLACE: return "padding in the wrong place";
    case BASE64_PADDING_BITS: return "non-zero bits under the padding";
    case BASE64_PADDING_MISSING: return "the padding is missing";
    }
    return "unknown";
}

/* Decodes one '='. A quad with two values needs two '=' and gives one byte; one with three values needs one '=' and
 * gives two bytes. */
static base64_status decode_padding(base64_decoder *d, uint8_t *dst, size_t *written) {
    if (d->closed) return BASE64_AFTER_PADDING;
    if (d->sextets < 2) return BASE64_PADDING_PLACE;
    if (d->sextets == 3) {
        if (d->bits & 0x03) return BASE64_PADDING_BITS;
        dst[0] = (uint8_t)(d->bits >> 10);
        dst[1] = (uint8_t)(d->bits >> 2);
        *written += 2;
    } else {
        if (d->bits & 0x0f) return BASE64_PADDING_BITS;
        if (++d->padding < 2) return BASE64_OK;
        dst[0] = (uint8_t)(d->bits >> 4);
        *written += 1;
    }
    *d = (base64_decoder){.closed = true};
    return BASE64_OK;
}

base64_status base64_decode_char(base64_decoder *d, uint8_t c, uint8_t *dst, size_t *written) {
    uint8_t value = base64_values[c];
    if (value == BASE64_FOREIGN) {
        if (c == '=') return decode_padding(d, dst, written);
        return c == '\r' || c == '\n' ? BASE64_OK : BASE64_FOREIGN_CHARACTER;
    }
    if (d->closed || d->padding) return BASE64_AFTER_PADDING;
    d->bits = d->bits << 6 | value;
    if (++d->sextets == 4) {
        dst[0] = (uint8_t)(d->bits >> 16);
        dst[1] = (uint8_t)(d->bits >> 8);
        dst[2] = (uint8_t)d->bits;
        *written += 3;
        *d = (base64_decoder){0};
    }
    return BASE64_OK;
}

base64_status base64_decode_run(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                uint8_t *dst, size_t *taken, size_t *written) {
    size_t at = 0, out = 0;
    base64_status status = BASE64_OK;
    while (at < n && status == BASE64_OK) {
        if (d->sextets == 0 && !d->closed) {
            size_t quads = kernel->decode(src + at, n - at, dst + out);
            at += quads;
            out += quads / 4 * 3;
            if (at == n) break;
        }
        if (base64_values[src[at]] == BASE64_FOREIGN && src[at] != '=') break;
        status = base64_decode_char(d, src[at], dst + out, &out);
        if (status == BASE64_OK) at++;
    }
    *taken = at;
    *written = out;
    return status;
}

base64_status base64_decode_text(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                 uint8_t *dst, size_t *taken, size_t *written) {
    size_t at = 0, out = 0;
    base64_status status = BASE64_OK;
    while (status == BASE64_OK) {
        size_t run_taken, run_written;
        status = base64_decode_run(d, kernel, src + at, n - at, dst + out, &run_taken, &run_written);
        at += run_taken;
        out += run_written;
        if (status != BASE64_OK || at == n) break;
        if (src[at] != '\r' && src[at] != '\n') status = BASE64_FOREIGN_CHARACTER;
        else at++;
    }
    *taken = at;
    *written = out;
    return status;
}

base64_status base64_decode_end(const base64_decoder *d) { return d->sextets ? BASE64_PADDING_MISSING : BASE64_OK; }

size_t base64_encode_size(const base64_encoder *e, size_t n) { return (e->carried + n) / 3 * 4; }

size_t base64_encode_update(base64_encoder *e, const base64_kernel *kernel, const uint8_t *src, size_t n,
                            uint8_t *dst) {
    uint8_t *out = dst;
    if (e->carried) {
        while (e->carried < 3 && n > 0) {
            e->carry[e->carried++] = *src++;
            n--;
        }
        if (e->carried < 3) return 0;
        kernel->encode(e->carry, 3, out);
        out += 4;
        e->carried = 0;
    }
    size_t whole = n / 3 * 3;
    kernel->encode(src, whole, out);
    out += whole / 3 * 4;
    e->carried = (uint8_t)(n - whole);
    if (e->carried) memcpy(e->carry, src + whole, e->carried);
    return (size_t)(out - dst);
}

size_t base64_encode_finish(base64_encoder *e, uint8_t *dst) {
    if (!e->carried) return 0;
    uint32_t bits = (uint32_t)e->carry[0] << 16 | (e->carried == 2 ? (uint32_t)e->carry[1] << 8 : 0);
    dst[0] = (uint8_t)base64_alphabet[bits >> 18];
    dst[1] = (uint8_t)base64_alphabet[bits >> 12 & 63];
    dst[2] = (uint8_t)(e->carried == 2 ? base64_alphabet[bits >> 6 & 63] : '=');
    dst[3] = '=';
    e->carried = 0;
    return 4;
}
