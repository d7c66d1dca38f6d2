/* The way of one document through the planner, and the refusals with their codes and messages. */
#include "pdfscan/pdf_plan.h"

#include <string.h>

#include "pdfscan/pdf_appearance.h"
#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_existing_field.h"
#include "pdfscan/pdf_structure.h"
#include "pdfscan/pdf_text.h"
#include "pdfscan/pdf_update.h"

enum { HEADER_SEARCH_BYTES = 1024, MAX_TEXT_BYTES = 1 << 20, MAX_CONTENTS_BYTES = 1 << 24 };

/* The limits in proportion to the original: so many times its bytes, and a base, at most so much in all. A byte of the
 * caller's texts takes at most four in the update. A unit of work takes about a nanosecond on a usual processor, and at
 * most a few. */
enum {
    MEMORY_FACTOR = 6, MEMORY_BASE = 14 << 20, MOST_MEMORY = 128 << 20,
    INFLATE_FACTOR = 4, INFLATE_BASE = 6 << 20,
    UPDATE_FACTOR = 2, UPDATE_BASE = 64 << 10, TEXT_FACTOR = 4, MOST_UPDATE = 64 << 20, UNSHARED_FACTOR = 4,
    WORK_FACTOR = 8, WORK_BASE = 64 << 20,
};

static size_t in_proportion(size_t bytes, size_t factor, size_t base, size_t most) {
    return bytes < (most - base) / factor ? bytes * factor + base : most;
}

size_t pdf_update_bound(size_t bytes) { return in_proportion(bytes, UPDATE_FACTOR, UPDATE_BASE, MOST_UPDATE); }

size_t pdf_memory_bound(size_t bytes) { return in_proportion(bytes, MEMORY_FACTOR, MEMORY_BASE, MOST_MEMORY); }

static const struct {
    const char *code, *message;
} REFUSALS[PDF_REFUSALS] = {
    [PDF_OK] = {"", ""},
    [PDF_REFUSE_NOT_PDF] = {"not_pdf", "the content is not a PDF: no %PDF header was found"},
    [PDF_REFUSE_OFFSET_HEADER] = {"offset_header", "there are other bytes before the PDF's %PDF header, and a signature in the PDF that may count them: a further one could break it"},
    [PDF_REFUSE_ENCRYPTED] = {"encrypted", "the PDF is encrypted, and was not given with the file key that its reading takes"},
    [PDF_REFUSE_PASSWORD] = {"password_needed", "the PDF is encrypted and opens only with a password, so nobody else can sign it"},
    [PDF_REFUSE_FORBIDDEN] = {"signing_forbidden", "the PDF opens without a password, but its owner forbids filling in forms and signing"},
    [PDF_REFUSE_PUBLIC_KEY] = {"public_key_encryption", "the PDF is encrypted for the holders of certain certificates (public-key security), so nobody else can read or sign it"},
    [PDF_REFUSE_CRYPT_METHOD] = {"unsupported_encryption", "the PDF is encrypted by a security handler or a method that is not supported"},
    [PDF_REFUSE_BROKEN_ENCRYPTION] = {"broken_encryption", "the PDF is encrypted, and what it says of its encryption is malformed or differs from place to place"},
    [PDF_REFUSE_CERTIFIED] = {"certified_no_changes", "the PDF is certified and its author permits no changes (DocMDP level 1), so no signature may be added"},
    [PDF_REFUSE_LOCKED] = {"fields_locked", "an existing signature of the PDF locks the document against further signatures"},
    [PDF_REFUSE_FIELD_MISSING] = {"field_missing", "the PDF has no signature field of the name that was given"},
    [PDF_REFUSE_FIELD_SIGNED] = {"field_signed", "the field of the name that was given is signed already"},
    [PDF_REFUSE_FIELD_TYPE] = {"field_type", "the field of the name that was given is no signature field"},
    [PDF_REFUSE_FIELD_TWICE] = {"field_twice", "the PDF has several fields of the name that was given"},
    [PDF_REFUSE_FIELD_LOCK] = {"field_lock", "the field says what its signature locks (/Lock), but not in a way that readers know, so no signature can respect it"},
    [PDF_REFUSE_AMBIGUOUS] = {"ambiguous", "a key that decides whether the PDF may be signed stands twice with different values, and readers disagree on which one counts"},
    [PDF_REFUSE_BEYOND_END] = {"signature_beyond_end", "an existing signature of the PDF covers bytes beyond the end of the file (its ByteRange is too long): any addition would break it"},
    [PDF_REFUSE_BROKEN_XREF] = {"broken_xref", "the PDF's cross-reference data is damaged and could not be rebuilt from its objects"},
    [PDF_REFUSE_XREF_LOOP] = {"xref_loop", "the PDF's cross-reference sections refer to each other in a circle"},
    [PDF_REFUSE_NO_CATALOG] = {"no_catalog", "the PDF has no document catalog (/Root)"},
    [PDF_REFUSE_NO_PAGES] = {"no_pages", "the PDF has no page on which a signature field could be placed"},
    [PDF_REFUSE_BROKEN_OBJECT] = {"broken_object", "an object of the PDF that the signature depends on is malformed"},
    [PDF_REFUSE_REPAIR_WOULD_BREAK_SIGNATURES] = {"signed_and_broken", "the PDF carries signatures and damaged cross-reference data: repairing it would invalidate them"},
    [PDF_REFUSE_FILTER] = {"unsupported_filter", "the PDF's cross-reference or object streams use a filter that is not supported"},
    [PDF_REFUSE_DEPTH] = {"limit_depth", "the PDF's objects are nested deeper than the limit allows"},
    [PDF_REFUSE_OBJECTS] = {"limit_objects", "reading the PDF takes more objects, or more work, than the limit allows"},
    [PDF_REFUSE_INFLATE] = {"limit_inflate", "the PDF's compressed object data expands beyond the limit"},
    [PDF_REFUSE_SIZE] = {"limit_size", "the PDF is larger than the limit allows"},
    [PDF_REFUSE_SECTIONS] = {"limit_sections", "the PDF has more incremental updates than the limit allows"},
    [PDF_REFUSE_UPDATE] = {"limit_update", "what must be added to sign the PDF is larger than the limit allows"},
    [PDF_REFUSE_MEMORY_LIMIT] = {"limit_memory", "planning the signature takes more memory than the limit allows"},
    [PDF_REFUSE_MEMORY] = {"no_memory", "there was not enough memory to plan the signature"},
    [PDF_REFUSE_NO_SUCH_PAGE] = {"no_such_page", "the PDF does not have the page on which the visible signature is to stand"},
    [PDF_REFUSE_OUTSIDE_PAGE] = {"outside_page", "the area of the visible signature does not lie on the page as a whole"},
    [PDF_REFUSE_OTHER_RULES] = {"other_rules", "the PDF demands an appearance of another kind"},
    [PDF_REFUSE_OTHER_AREA] = {"other_area", "the field demands an appearance of another size"},
    [PDF_REFUSE_UNSHARED] = {"appearance_size", "the PDF is encrypted, so that the image of its visible signature must be stored for it alone, and for that the image is too large: it may take 256 KB as it stands in a PDF"},
};

const char *pdf_refusal_code(pdf_refusal refusal) { return REFUSALS[refusal < PDF_REFUSALS ? refusal : 0].code; }
const char *pdf_refusal_message(pdf_refusal refusal) { return REFUSALS[refusal < PDF_REFUSALS ? refusal : 0].message; }

/* Whether a scan of the whole file may still help after this refusal. */
static bool repairable(pdf_refusal refusal) {
    return refusal == PDF_REFUSE_BROKEN_XREF || refusal == PDF_REFUSE_BROKEN_OBJECT || refusal == PDF_REFUSE_NO_CATALOG || refusal == PDF_REFUSE_NO_PAGES ||
           refusal == PDF_REFUSE_FILTER;
}

/* Finds the parts of the document, and the field that is to be signed if the caller names one. */
static pdf_refusal read_parts(pdf_document *doc, const pdf_appearance *appearance, pdf_structure *structure, pdf_plan *plan) {
    if (doc->crypt) doc->crypt->taken_count = 0;
    pdf_refusal refusal = pdf_read_structure(doc, appearance, structure);
    return refusal || !doc->field.utf8 ? refusal : pdf_find_field(doc, structure, plan);
}

static pdf_refusal read_document(pdf_document *doc, const pdf_appearance *appearance, pdf_structure *structure, pdf_plan *plan) {
    pdf_refusal refusal = pdf_read_xref(doc);
    if (!refusal) refusal = read_parts(doc, appearance, structure, plan);
    if (!repairable(refusal)) return refusal;
    pdf_refusal again = pdf_rebuild_xref(doc);
    if (!again) again = read_parts(doc, appearance, structure, plan);
    if (!again && structure->has_signatures) again = PDF_REFUSE_REPAIR_WOULD_BREAK_SIGNATURES;
    return repairable(again) ? refusal : again;
}

/* The bytes of an appearance that a plan holds. */
static size_t appearance_bytes(const pdf_appearance *appearance) {
    size_t total = 0;
    for (unsigned i = 0; i < appearance->count; i++) {
        const pdf_drawn_object *object = &appearance->objects[i];
        total += (size_t)(object->entries.end - object->entries.at);
        if (object->has_stream && !object->is_shared) total += (size_t)(object->stream.end - object->stream.at);
    }
    return total;
}

/* The bytes that a plan holds beside them where the streams of the document are encrypted, so that it shares none. */
static size_t unshared_bytes(const pdf_plan_request *request) {
    size_t total = 0;
    if (!request->appearance || !request->unlock || request->unlock->streams == PDF_NOT_ENCRYPTED) return 0;
    for (unsigned i = 0; i < request->appearance->count; i++) {
        const pdf_drawn_object *object = &request->appearance->objects[i];
        if (object->has_stream && object->is_shared) total += (size_t)(object->stream.end - object->stream.at);
    }
    return total;
}

/* Limits that do not depend on the content. */
static bool is_too_large(size_t bytes, const pdf_plan_request *request) {
    const pdf_text *texts[] = {&request->reason, &request->location, &request->name, &request->time, &request->field};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        if (texts[i]->bytes > MAX_TEXT_BYTES) return true;
    if (request->appearance && (request->appearance->count > PDF_MOST_DRAWN || appearance_bytes(request->appearance) > PDF_MOST_DRAWN_BYTES)) return true;
    return bytes > request->limits.file_bytes || bytes > PDF_MAX_FILE_BYTES || request->contents_bytes > MAX_CONTENTS_BYTES;
}

static void set_limits(pdf_document *doc, size_t bytes, const pdf_plan_request *request) {
    const pdf_limits *limits = doc->limits;
    size_t text_bytes = request->reason.bytes + request->location.bytes + request->name.bytes + request->time.bytes;
    if (request->appearance) text_bytes += appearance_bytes(request->appearance);
    size_t memory = pdf_memory_bound(bytes) + UNSHARED_FACTOR * unshared_bytes(request);
    doc->arena->limit = limits->memory_bytes && limits->memory_bytes < memory ? limits->memory_bytes : memory;
    doc->inflate_limit = in_proportion(bytes, INFLATE_FACTOR, INFLATE_BASE, limits->inflate_bytes > INFLATE_BASE ? limits->inflate_bytes : INFLATE_BASE);
    if (doc->inflate_limit > limits->inflate_bytes) doc->inflate_limit = limits->inflate_bytes;
    doc->update_limit = pdf_update_bound(bytes) + TEXT_FACTOR * text_bytes + unshared_bytes(request);
    doc->work_limit = in_proportion(bytes, WORK_FACTOR, WORK_BASE, SIZE_MAX / 2);
}

/* Finds the place of a visible signature, and whether its appearance keeps the document's rules. */
static pdf_refusal place_appearance(const pdf_plan_request *request, pdf_structure *structure, pdf_plan *plan) {
    const pdf_appearance *appearance = request->appearance;
    const pdf_existing_field *existing = &structure->existing;
    bool has_field = existing->field.num != 0;
    structure->draws = !has_field || (existing->is_visible && !(appearance->yields && existing->has_appearance));
    if (!structure->draws) return PDF_OK;
    pdf_refusal refusal = has_field ? pdf_place_in_field(appearance, existing, &structure->place) : pdf_place_area(appearance, &structure->view, &structure->place);
    plan->area_width = existing->width;
    plan->area_height = existing->height;
    plan->page_width = structure->place.page_width;
    plan->page_height = structure->place.page_height;
    plan->rules = structure->rules;
    if (!refusal && structure->rules != appearance->rules) return PDF_REFUSE_OTHER_RULES;
    return !refusal && unshared_bytes(request) > PDF_MOST_UNSHARED_BYTES ? PDF_REFUSE_UNSHARED : refusal;
}

pdf_refusal pdf_plan_update(const uint8_t *file, size_t bytes, const pdf_plan_request *request, pdf_arena *arena, pdf_plan *plan) {
    memset(plan, 0, sizeof *plan);
    if (is_too_large(bytes, request)) return PDF_REFUSE_SIZE;
    const uint8_t *end = file + bytes;
    const uint8_t *header = pdf_find(file, bytes > HEADER_SEARCH_BYTES ? file + HEADER_SEARCH_BYTES : end, "%PDF-");
    if (!header) return PDF_REFUSE_NOT_PDF;
    pdf_document doc = {.file = {header, end}, .arena = arena, .limits = &request->limits, .field = request->field};
    pdf_structure structure = {0};
    set_limits(&doc, bytes, request);
    if (request->unlock && !(doc.crypt = pdf_start_crypt(arena, request->unlock))) return PDF_REFUSE_MEMORY;
    pdf_refusal refusal = read_document(&doc, request->appearance, &structure, plan);
    plan->encryption = structure.encryption;
    plan->pages = structure.pages;
    plan->skipped_bytes = (size_t)(header - file);
    /* This is checked last, because "encrypted" or "not a PDF" is the more helpful answer. */
    if (!refusal && plan->skipped_bytes && structure.has_signatures) refusal = PDF_REFUSE_OFFSET_HEADER;
    if (!refusal && request->appearance) refusal = place_appearance(request, &structure, plan);
    if (!refusal) refusal = pdf_write_update(&doc, &structure, request, plan);
    return refusal == PDF_REFUSE_MEMORY && arena->exceeded ? PDF_REFUSE_MEMORY_LIMIT : refusal;
}
