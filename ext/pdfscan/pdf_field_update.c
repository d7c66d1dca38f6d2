/* Writes an existing field that is signed: its value, its appearance, and its lock as a part of the signature. */
#include "pdfscan/pdf_field_update.h"

#include "pdfscan/pdf_edit.h"

static void put_level(pdf_writer *w, uint32_t level) {
    if (!level) return;
    pdf_puts(w->out, "/P ");
    pdf_put_number(w->out, level, 1);
}

/* 12.8.2.4, table 258. /Data is what the lock is about, the whole document. The level stands here too, where Acrobat puts it
 * and looks for it. */
static void put_field_lock(pdf_writer *w, const pdf_existing_field *field, const char *digest_method) {
    static const char *const ACTIONS[] = {"", "All", "Include", "Exclude"};
    pdf_puts(w->out, "<</Type/SigRef/TransformMethod/FieldMDP/DigestMethod/");
    pdf_puts(w->out, digest_method);
    pdf_puts(w->out, "/Data ");
    pdf_put_ref(w->out, w->structure->catalog.num, w->structure->catalog.gen);
    pdf_puts(w->out, "/TransformParams<</Type/TransformParams/V/1.2/Action/");
    pdf_puts(w->out, ACTIONS[field->lock]);
    put_level(w, field->lock_level);
    if (field->lock != PDF_LOCK_ALL) {
        pdf_puts(w->out, "/Fields[");
        for (size_t i = 0; i < field->locked_count; i++) pdf_put_text_string(w, field->locked[i]);
        pdf_puts(w->out, "]");
    }
    pdf_puts(w->out, ">>>>");
}

void pdf_put_lock(pdf_writer *w, const char *digest_method) {
    const pdf_existing_field *field = &w->structure->existing;
    if (!field->lock) return;
    pdf_puts(w->out, "\n/Reference[");
    put_field_lock(w, field, digest_method);
    if (field->lock_level) {
        pdf_puts(w->out, "<</Type/SigRef/TransformMethod/DocMDP/TransformParams<</Type/TransformParams/V/1.2");
        put_level(w, field->lock_level);
        pdf_puts(w->out, ">>>>");
    }
    pdf_puts(w->out, "]");
}

/* The entry /AP of the widget, if it changes: a new appearance, or the one that counts where it stands twice. */
static unsigned appearance_change(pdf_writer *w, uint32_t appearance, pdf_change *change) {
    const pdf_existing_field *field = &w->structure->existing;
    if (!appearance && !field->appearances_differ) return 0;
    *change = (pdf_change){"AP", {.arena = w->doc->arena}};
    if (appearance) {
        pdf_puts(&change->value, "<</N ");
        pdf_put_ref(&change->value, appearance, 0);
        pdf_puts(&change->value, ">>");
    } else {
        pdf_span own;
        pdf_get(field->widget.value, "AP", &own);
        pdf_put(&change->value, own.at, (size_t)(own.end - own.at));
    }
    return 1;
}

static void put_changed_object(pdf_writer *w, const pdf_object *object, const pdf_change *changes, unsigned n) {
    pdf_begin_object(w, object->num, object->gen);
    pdf_put_changed(w->out, object->value, changes, n);
    pdf_end_object(w);
}

void pdf_put_existing_field(pdf_writer *w, uint32_t signature, uint32_t appearance) {
    const pdf_existing_field *field = &w->structure->existing;
    pdf_change changes[2] = {{"V", {.arena = w->doc->arena}}};
    bool is_merged = field->widget.num == field->field.num;
    pdf_put_ref(&changes[0].value, signature, 0);
    unsigned n = field->widget.num ? appearance_change(w, appearance, &changes[1]) : 0;
    put_changed_object(w, &field->field, changes, is_merged ? 1 + n : 1);
    if (!is_merged && n) put_changed_object(w, &field->widget, &changes[1], n);
}
