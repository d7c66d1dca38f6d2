/* Writes the parts of which every object of an update consists. */
#include "pdfscan/pdf_writer.h"

#include <string.h>

#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_text.h"

void pdf_begin_object(pdf_writer *w, uint32_t num, uint32_t gen) {
    /* Strings of the original would stand in the update without their encryption. */
    if (!pdf_is_taken(w->doc, num)) w->out->failed = true;
    w->written[w->written_count++] = (pdf_written){num, gen, pdf_position(w)};
    pdf_put_number(w->out, num, 1);
    pdf_puts(w->out, " ");
    pdf_put_number(w->out, gen, 1);
    pdf_puts(w->out, " obj\n");
}

void pdf_end_object(pdf_writer *w) { pdf_puts(w->out, "\nendobj\n"); }

/* The object that was begun last. */
static const pdf_written *current(const pdf_writer *w) { return &w->written[w->written_count - 1]; }

void pdf_put_text_string(pdf_writer *w, pdf_text text) {
    pdf_buffer bytes = {.arena = w->doc->arena};
    if (!w->doc->crypt || w->doc->crypt->unlock->strings == PDF_NOT_ENCRYPTED) {
        pdf_put_text(w->out, text);
        return;
    }
    pdf_put_text_bytes(&bytes, text);
    pdf_put_string(w->doc, w->out, current(w)->num, current(w)->gen, bytes.bytes, bytes.length);
    w->out->failed |= bytes.failed;
}

static void begin_stream(pdf_writer *w, const char *entries, size_t length) {
    pdf_puts(w->out, "<<");
    pdf_puts(w->out, entries);
    pdf_puts(w->out, "/Length ");
    pdf_put_number(w->out, length, 1);
    pdf_puts(w->out, ">>\nstream\n");
}

void pdf_put_stream(pdf_writer *w, const char *entries, const void *bytes, size_t length) {
    begin_stream(w, entries, pdf_encrypted_length(w->doc, length));
    pdf_encrypt_stream(w->doc, w->out, current(w)->num, current(w)->gen, bytes, length);
    pdf_puts(w->out, "\nendstream");
}

void pdf_put_drawn_stream(pdf_writer *w, const char *entries, unsigned index, const pdf_drawn_object *object) {
    size_t length = (size_t)(object->stream.end - object->stream.at);
    if (!object->is_shared || pdf_encrypts_streams(w->doc)) {
        pdf_put_stream(w, entries, object->stream.at, length);
        return;
    }
    begin_stream(w, entries, length);
    w->plan->inserted[w->plan->inserted_count++] = (pdf_insertion){w->out->length, index};
    w->plan->inserted_bytes += length;
    w->out_offset += length;
    pdf_puts(w->out, "\nendstream");
}

enum { RANGE_CHARS = 40 };

size_t pdf_put_range_blanks(pdf_buffer *out) {
    size_t at = out->length;
    if (pdf_reserve(out, RANGE_CHARS)) {
        memset(out->bytes + at, ' ', RANGE_CHARS);
        out->length += RANGE_CHARS;
    }
    return at;
}

pdf_refusal pdf_fill_range(pdf_buffer *out, uint64_t blanks, const uint64_t range[4]) {
    pdf_buffer text = {.arena = out->arena};
    for (unsigned i = 0; i < 4; i++) {
        pdf_puts(&text, i ? " " : "[");
        pdf_put_number(&text, range[i], 1);
    }
    pdf_puts(&text, "]");
    if (text.failed || out->failed) return PDF_REFUSE_MEMORY;
    /* Blanks that were stored come back from outside. */
    if (text.length > RANGE_CHARS || blanks > out->length || out->length - blanks < RANGE_CHARS) return PDF_REFUSE_BROKEN_OBJECT;
    memcpy(out->bytes + blanks, text.bytes, text.length);
    return PDF_OK;
}
