/* Writes the section behind the signature, once its material is there. */
#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_edit.h"
#include "pdfscan/pdf_update.h"
#include "pdfscan/pdf_writer.h"

/* The DSS dictionary. The streams that are new get the numbers from `first` on, in their order. */
static void put_dss(pdf_writer *w, const pdf_long_term *section, const pdf_material_list lists[PDF_MATERIALS], uint64_t first) {
    pdf_begin_object(w, section->dss, section->dss_generation);
    pdf_puts(w->out, "<<");
    pdf_put(w->out, section->others.bytes, section->others.length);
    for (unsigned i = 0; i < PDF_MATERIALS; i++) {
        if (!lists[i].count && !section->lists[i].length) continue;
        pdf_puts(w->out, "/");
        pdf_puts(w->out, PDF_MATERIAL_KEYS[i]);
        pdf_puts(w->out, "[");
        pdf_put(w->out, section->lists[i].bytes, section->lists[i].length);
        for (size_t k = 0; k < lists[i].count; k++) {
            if (k || section->lists[i].length) pdf_puts(w->out, " ");
            pdf_put_ref(w->out, first++, 0);
        }
        pdf_puts(w->out, "]");
    }
    pdf_puts(w->out, ">>");
    pdf_end_object(w);
}

static void put_streams(pdf_writer *w, const pdf_material_list lists[PDF_MATERIALS]) {
    for (unsigned i = 0; i < PDF_MATERIALS; i++)
        for (size_t k = 0; k < lists[i].count; k++) {
            const pdf_material *one = &lists[i].materials[k];
            pdf_begin_object(w, (uint32_t)w->next_number++, 0);
            pdf_put_stream(w, one->is_deflated ? "/Filter/FlateDecode" : "", one->bytes, one->length);
            pdf_end_object(w);
        }
}

static void read_rows(const pdf_buffer *rows, pdf_written *written, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint64_t fields[2] = {0, 0};
        for (unsigned b = 0; b < PDF_SECTION_ROW_BYTES; b++) fields[b / 8] = fields[b / 8] << 8 | rows->bytes[i * PDF_SECTION_ROW_BYTES + b];
        written[i] = (pdf_written){(uint32_t)(fields[0] >> 32), (uint32_t)fields[0], fields[1]};
    }
}

pdf_refusal pdf_write_section(const pdf_long_term *section, pdf_text tail, const pdf_material_list lists[PDF_MATERIALS], size_t token_bytes, pdf_arena *arena, pdf_buffer *head, pdf_buffer *rest) {
    const pdf_limits limits = {.depth = PDF_MAX_DEPTH};
    size_t streams = 0, planned = section->rows.length / PDF_SECTION_ROW_BYTES, room = 0;
    for (unsigned i = 0; i < PDF_MATERIALS; i++) {
        streams += lists[i].count;
        for (size_t k = 0; k < lists[i].count; k++) room += lists[i].materials[k].length + 160;
    }
    if (streams > PDF_MAX_STREAMS || section->trailer >= tail.bytes) return PDF_REFUSE_OBJECTS;
    *head = *rest = (pdf_buffer){.arena = arena};
    pdf_document doc = {.arena = arena, .limits = &limits, .work_limit = SIZE_MAX};
    if (section->cipher.length && !(doc.crypt = pdf_restart_crypt(arena, section->cipher.bytes, section->cipher.length))) return PDF_REFUSE_BROKEN_ENCRYPTION;
    pdf_section before = {.is_stream = section->is_stream, .start = section->previous};
    pdf_refusal refusal = pdf_read_value(&doc, tail.utf8 + section->trailer, tail.utf8 + tail.bytes, &before.trailer);
    if (refusal) return refusal;
    if (pdf_kind_of(before.trailer) != PDF_DICT) return PDF_REFUSE_BROKEN_OBJECT;
    doc.sections = &before;
    doc.section_count = 1;
    doc.trailer = before.trailer;
    pdf_writer w = {.doc = &doc, .out = rest, .out_offset = section->start, .next_number = section->next_number};
    w.written = pdf_alloc(arena, (planned + streams + 2) * sizeof *w.written);
    if (!w.written || !pdf_reserve(rest, section->objects.length + room + 1024)) return PDF_REFUSE_MEMORY;
    read_rows(&section->rows, w.written, planned);
    w.written_count = (unsigned)planned;
    uint64_t reserved_bytes = section->has_time_stamp ? 2 * (uint64_t)token_bytes + 2 : 0;
    pdf_put(section->has_time_stamp ? head : rest, section->objects.bytes, section->objects.length);
    if (section->has_time_stamp) {
        w.out_offset += head->length + reserved_bytes;
        pdf_puts(rest, ">>");
        pdf_end_object(&w);
    }
    put_dss(&w, section, lists, w.next_number);
    put_streams(&w, lists);
    const pdf_plan_request request = {0};
    if ((refusal = pdf_write_xref(&w, &request))) return refusal;
    if (section->start + head->length + reserved_bytes + rest->length > PDF_MAX_FILE_BYTES) return PDF_REFUSE_SIZE;
    if (head->failed || rest->failed) return PDF_REFUSE_MEMORY;
    uint64_t gap = section->start + head->length;
    const uint64_t range[4] = {0, gap, gap + reserved_bytes, rest->length};
    return section->has_time_stamp ? pdf_fill_range(head, section->range, range) : PDF_OK;
}
