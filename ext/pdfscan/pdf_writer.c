/* Writes the parts of which every object of an update consists. */
#include "pdfscan/pdf_writer.h"

#include "pdfscan/pdf_text.h"

void pdf_begin_object(pdf_writer *w, uint32_t num, uint32_t gen) {
    w->written[w->written_count++] = (pdf_written){num, gen, pdf_position(w)};
    pdf_put_number(w->out, num, 1);
    pdf_puts(w->out, " ");
    pdf_put_number(w->out, gen, 1);
    pdf_puts(w->out, " obj\n");
}

void pdf_end_object(pdf_writer *w) { pdf_puts(w->out, "\nendobj\n"); }

void pdf_put_text_string(pdf_writer *w, pdf_text text) { pdf_put_text(w->out, text); }

static void begin_stream(pdf_writer *w, const char *entries, size_t length) {
    pdf_puts(w->out, "<<");
    pdf_puts(w->out, entries);
    pdf_puts(w->out, "/Length ");
    pdf_put_number(w->out, length, 1);
    pdf_puts(w->out, ">>\nstream\n");
}

void pdf_put_stream(pdf_writer *w, const char *entries, const void *bytes, size_t length) {
    begin_stream(w, entries, length);
    pdf_put(w->out, bytes, length);
    pdf_puts(w->out, "\nendstream");
}

void pdf_put_drawn_stream(pdf_writer *w, const char *entries, unsigned index, const pdf_drawn_object *object) {
    size_t length = (size_t)(object->stream.end - object->stream.at);
    if (!object->is_shared) {
        pdf_put_stream(w, entries, object->stream.at, length);
        return;
    }
    begin_stream(w, entries, length);
    w->plan->inserted[w->plan->inserted_count++] = (pdf_insertion){w->out->length, index};
    w->plan->inserted_bytes += length;
    w->out_offset += length;
    pdf_puts(w->out, "\nendstream");
}
