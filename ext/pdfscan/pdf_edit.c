/* Changes entries of dictionaries and elements of arrays. */
#include "pdfscan/pdf_edit.h"

void pdf_put_ref(pdf_buffer *out, uint64_t num, uint64_t gen) {
    pdf_put_number(out, num, 1);
    pdf_puts(out, " ");
    pdf_put_number(out, gen, 1);
    pdf_puts(out, " R");
}

static void put_between(pdf_buffer *out, const uint8_t *at, const uint8_t *end) { pdf_put(out, at, (size_t)(end - at)); }

static void put_value(pdf_buffer *out, const pdf_buffer *value) {
    pdf_puts(out, " ");
    pdf_put(out, value->bytes, value->length);
    out->failed |= value->failed;
}

void pdf_put_changed(pdf_buffer *out, pdf_span dict, const pdf_change *changes, unsigned n) {
    const char *keys[PDF_MAX_CHANGES] = {NULL};
    pdf_span last[PDF_MAX_CHANGES], key, value;
    for (unsigned i = 0; i < n; i++) keys[i] = changes[i].key;
    pdf_get_each(dict, keys, last, n);
    const uint8_t *at = dict.at + 2;
    put_between(out, dict.at, at);
    for (unsigned i = 0; i < n; i++) {
        if (last[i].at < last[i].end) continue;
        pdf_puts(out, "/");
        pdf_puts(out, keys[i]);
        put_value(out, &changes[i].value);
        pdf_puts(out, "\n");
    }
    pdf_members members = pdf_open(dict);
    while (pdf_next_pair(&members, &key, &value)) {
        unsigned i = 0;
        while (i < n && !pdf_name_is(key, keys[i])) i++;
        if (i == n) continue;
        bool counts = value.at == last[i].at;
        put_between(out, at, counts ? value.at : key.at);
        if (counts) put_value(out, &changes[i].value);
        at = value.end;
    }
    put_between(out, at, dict.end);
}

void pdf_put_extended(pdf_buffer *out, pdf_span array, uint32_t num) {
    bool is_array = pdf_kind_of(array) == PDF_ARRAY;
    if (is_array)
        put_between(out, array.at, array.end - 1);
    else
        pdf_puts(out, "[");
    if (is_array) pdf_puts(out, " ");
    pdf_put_ref(out, num, 0);
    pdf_puts(out, "]");
}
