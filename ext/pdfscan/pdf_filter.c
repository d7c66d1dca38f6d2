/* The stream filters that xref streams and object streams use (ISO 32000-2 7.4). */
#include <string.h>

#include "pdfscan/pdf_document.h"
#include "pdfscan/pdf_inflate.h"

/* What an output of a filter gets at once, at most; it grows as it is needed, since the length that a stream claims may be
 * wrong. */
enum { FIRST_RESERVED = 1 << 20 };

/* Units of work for a byte of the input. Inflating counts its own. */
enum { INPUT_WORK = 4 };

static pdf_refusal put_decoded(pdf_document *doc, pdf_buffer *out, const void *bytes, size_t n) {
    if (n > doc->inflate_limit - doc->inflated) return PDF_REFUSE_INFLATE;
    if (!pdf_spend(doc, n)) return PDF_REFUSE_OBJECTS;
    doc->inflated += n;
    pdf_put(out, bytes, n);
    return out->failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

static pdf_refusal decode_flate(pdf_document *doc, pdf_span in, pdf_buffer *out) {
    size_t n = (size_t)(in.end - in.at), room = doc->inflate_limit - doc->inflated, reserved = n < FIRST_RESERVED / 4 ? n * 4 : FIRST_RESERVED;
    size_t left = doc->work < doc->work_limit ? doc->work_limit - doc->work : 0, before = left;
    out->most = room + 512;
    pdf_reserve(out, (reserved < room ? reserved : room) + 512);
    pdf_inflate_status status = pdf_inflate_zlib(in.at, n, room, &left, out);
    if (!pdf_spend(doc, before - left) || status == PDF_INFLATE_WORK) return PDF_REFUSE_OBJECTS;
    if (status == PDF_INFLATE_LIMIT) return PDF_REFUSE_INFLATE;
    if (status == PDF_INFLATE_MEMORY) return PDF_REFUSE_MEMORY;
    doc->inflated += out->length;
    return PDF_OK;
}

static pdf_refusal decode_ascii_hex(pdf_document *doc, pdf_span in, pdf_buffer *out) {
    uint8_t pair = 0;
    unsigned digits = 0;
    for (const uint8_t *at = in.at; at < in.end && *at != '>'; at++) {
        if (pdf_is_space(*at)) continue;
        int digit = pdf_hex_digit(*at);
        if (digit < 0) break;
        pair = (uint8_t)(pair << 4 | digit);
        if (++digits % 2 == 0) {
            pdf_refusal refusal = put_decoded(doc, out, &pair, 1);
            if (refusal) return refusal;
        }
    }
    pair = (uint8_t)(pair << 4);
    return digits % 2 ? put_decoded(doc, out, &pair, 1) : PDF_OK;
}

static pdf_refusal decode_ascii85(pdf_document *doc, pdf_span in, pdf_buffer *out) {
    uint32_t group = 0;
    unsigned n = 0;
    for (const uint8_t *at = in.at; at <= in.end; at++) {
        uint8_t c = at < in.end ? *at : '~';
        if (pdf_is_space(c)) continue;
        bool last = c < '!' || c > 'u', zero = c == 'z' && n == 0;
        if (zero) group = 0, n = 5, last = false;
        if (last && n < 2) break;
        unsigned given = last ? n : 5;
        if (last)
            for (; n < 5; n++) group = group * 85 + 84;
        else if (!zero)
            group = group * 85 + (uint32_t)(c - '!'), n++;
        if (n < 5) continue;
        uint8_t bytes[4] = {(uint8_t)(group >> 24), (uint8_t)(group >> 16), (uint8_t)(group >> 8), (uint8_t)group};
        pdf_refusal refusal = put_decoded(doc, out, bytes, given - 1);
        if (refusal || last) return refusal;
        group = n = 0;
    }
    return PDF_OK;
}

/* 7.4.4.2: codes have 9 to 12 bits. Code 256 clears the table, 257 ends the data. */
static pdf_refusal decode_lzw(pdf_document *doc, pdf_span in, bool early, pdf_buffer *out) {
    struct {
        uint16_t prefix, length;
        uint8_t last;
    } *table = pdf_alloc(doc->arena, 4097 * sizeof *table);
    uint8_t *text = pdf_alloc(doc->arena, 4100);
    if (!table || !text) return PDF_REFUSE_MEMORY;
    uint32_t bits = 0, next = 258, previous = 256;
    unsigned have = 0, width = 9;
    for (const uint8_t *at = in.at;;) {
        for (; have < width && at < in.end; have += 8) bits = bits << 8 | *at++;
        if (have < width) return PDF_OK;
        uint32_t code = bits >> (have - width) & ((1u << width) - 1);
        have -= width;
        if (code == 257) return PDF_OK;
        if (code == 256) {
            next = 258, width = 9, previous = 256;
            continue;
        }
        if (code > next || (code == next && previous == 256) || (code > 255 && previous == 256)) return PDF_OK;
        /* A code that is not in the table yet means the text of the code before, followed by the first byte of that
         * text. */
        uint32_t walk = code == next ? previous : code;
        size_t length = (walk < 256 ? 1u : table[walk].length), n = length;
        for (; walk > 255; walk = table[walk].prefix) text[--n] = table[walk].last;
        text[0] = (uint8_t)walk;
        if (code == next) text[length++] = text[0];
        if (previous != 256 && next < 4096) {
            table[next].prefix = (uint16_t)previous;
            table[next].length = (uint16_t)((previous < 256 ? 1 : table[previous].length) + 1);
            table[next++].last = text[0];
            if (next + early >= 1u << width && width < 12) width++;
        } else if (code == next) {
            return PDF_OK;
        }
        previous = code;
        pdf_refusal refusal = put_decoded(doc, out, text, length);
        if (refusal) return refusal;
    }
}

static int64_t parameter(pdf_span dict, const char *key, int64_t otherwise) {
    pdf_span value;
    int64_t number;
    return pdf_get(dict, key, &value) && pdf_to_integer(value, &number) ? number : otherwise;
}

static uint8_t paeth(uint8_t left, uint8_t up, uint8_t corner) {
    int p = left + up - corner;
    int a = p > left ? p - left : left - p, b = p > up ? p - up : up - p, c = p > corner ? p - corner : corner - p;
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

/* 7.4.4.4. Works in place: dropping the tag byte of each row moves the rows towards the front. */
static pdf_refusal undo_predictor(pdf_document *doc, pdf_span parameters, pdf_span *data) {
    int64_t predictor = parameter(parameters, "Predictor", 1), columns = parameter(parameters, "Columns", 1);
    int64_t colors = parameter(parameters, "Colors", 1), bits = parameter(parameters, "BitsPerComponent", 8);
    if (predictor < 2) return PDF_OK;
    if (!pdf_spend(doc, 2 * (size_t)(data->end - data->at))) return PDF_REFUSE_OBJECTS;
    if (columns < 1 || columns > 1 << 20 || colors < 1 || colors > 32 || bits != 8) return PDF_REFUSE_FILTER;
    size_t row = (size_t)(columns * colors), pixel = (size_t)colors, tag = predictor >= 10;
    uint8_t *out = (uint8_t *)data->at, *up = NULL;
    const uint8_t *in = data->at;
    for (; in < data->end; out += row) {
        uint8_t type = tag ? *in++ : 1;
        size_t n = (size_t)(data->end - in) < row ? (size_t)(data->end - in) : row;
        memmove(out, in, n);
        in += n;
        for (size_t i = 0; i < n; i++) {
            uint8_t left = i >= pixel ? out[i - pixel] : 0, above = up ? up[i] : 0;
            uint8_t corner = up && i >= pixel ? up[i - pixel] : 0;
            switch (type) {
                case 1: out[i] = (uint8_t)(out[i] + left); break;
                case 2: out[i] = (uint8_t)(out[i] + above); break;
                case 3: out[i] = (uint8_t)(out[i] + (left + above) / 2); break;
                case 4: out[i] = (uint8_t)(out[i] + paeth(left, above, corner)); break;
                default: break;
            }
        }
        up = out;
        if (n < row) {
            out += n;
            break;
        }
    }
    data->end = out;
    return PDF_OK;
}

pdf_refusal pdf_apply_filter(pdf_document *doc, pdf_span filter, pdf_span parameters, pdf_span *data) {
    pdf_buffer out = {.arena = doc->arena};
    pdf_refusal refusal;
    if (doc->crypt && pdf_name_is(filter, "Crypt")) return PDF_OK; /* it was decrypted before */
    bool flate = pdf_name_is(filter, "FlateDecode") || pdf_name_is(filter, "Fl");
    if (!flate && !pdf_spend(doc, INPUT_WORK * (size_t)(data->end - data->at))) return PDF_REFUSE_OBJECTS;
    bool lzw = pdf_name_is(filter, "LZWDecode") || pdf_name_is(filter, "LZW");
    if (flate)
        refusal = decode_flate(doc, *data, &out);
    else if (lzw)
        refusal = decode_lzw(doc, *data, parameter(parameters, "EarlyChange", 1) != 0, &out);
    else if (pdf_name_is(filter, "ASCIIHexDecode") || pdf_name_is(filter, "AHx"))
        refusal = decode_ascii_hex(doc, *data, &out);
    else if (pdf_name_is(filter, "ASCII85Decode") || pdf_name_is(filter, "A85"))
        refusal = decode_ascii85(doc, *data, &out);
    else
        return PDF_REFUSE_FILTER;
    if (refusal) return refusal;
    pdf_trim(&out);
    *data = out.length ? (pdf_span){out.bytes, out.bytes + out.length} : (pdf_span){data->at, data->at};
    return (flate || lzw) && out.length ? undo_predictor(doc, parameters, data) : PDF_OK;
}
