/* Finds the parts of a document that a signature changes: the catalog, its page, and the form with its fields (ISO
 * 32000-2 7.7, 12.7). */
#include "pdfscan/pdf_structure.h"

#include <string.h>

#include "pdfscan/pdf_crypt.h"
#include "pdfscan/pdf_encryption.h"
#include "pdfscan/pdf_fields.h"
#include "pdfscan/pdf_mend.h"
#include "pdfscan/pdf_permission.h"
#include "pdfscan/pdf_rules.h"

/* Reads the form, and checks all signatures. `permissions` is the value of /Perms in the catalog. */
static pdf_refusal read_form(pdf_document *doc, pdf_structure *found, pdf_span form, pdf_span permissions) {
    static const char *const KEYS[] = {"Fields", "SigFlags"};
    pdf_fields fields = {0};
    pdf_object resolved, certification;
    pdf_span entries[2];
    unsigned ambiguous;
    pdf_refusal refusal = pdf_resolve(doc, permissions, &resolved);
    if (refusal) return refusal;
    if ((refusal = pdf_get_decisive(doc, resolved.value, "DocMDP", &certification))) return refusal;
    if ((refusal = pdf_check_signature(doc, pdf_holder(&certification, pdf_holder(&resolved, &found->catalog)), certification.value, &fields.names))) return refusal;
    if ((refusal = pdf_resolve(doc, form, &found->form))) return refusal;
    if (!pdf_get_entries(doc, found->form.value, KEYS, entries, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    found->fields_differ = ambiguous & 1;
    found->flags_differ = ambiguous >> 1 & 1;
    if ((refusal = pdf_resolve(doc, entries[0], &found->fields))) return refusal;
    if ((refusal = pdf_walk_fields(doc, pdf_holder(&found->fields, pdf_holder(&found->form, &found->catalog)), found->fields.value, &fields))) return refusal;
    found->field_number = pdf_free_name(&fields.names);
    found->stamp_number = pdf_free_name_after(&fields.names, found->field_number);
    found->has_signatures = fields.has_signatures || pdf_kind_of(certification.value) == PDF_DICT;
    return PDF_OK;
}

/* ISO 14289-1 7.18.3: in a tagged document, a page with annotations says that their order is that of the structure.
 * Where there are signatures, the entry would be a change that they may not permit. */
static pdf_refusal read_tabs(pdf_document *doc, pdf_structure *found, pdf_span mark_info, pdf_span tabs) {
    pdf_object marks, marked, order;
    pdf_refusal refusal = pdf_resolve(doc, mark_info, &marks);
    if (refusal) return refusal;
    if ((refusal = pdf_get_resolved(doc, marks.value, "Marked", &marked))) return refusal;
    if ((refusal = pdf_resolve(doc, tabs, &order))) return refusal;
    bool is_marked = pdf_skip_word(marked.value.at, marked.value.end, "true") != NULL;
    found->wants_tabs = is_marked && pdf_kind_of(order.value) == PDF_NULL && !found->has_signatures;
    return PDF_OK;
}

/* How often a value is read while it is checked and written. */
enum { WRITING_SEARCHES = 9 };

/* Leaves out of a value what no reader takes for a part of it. */
static pdf_refusal mend(pdf_document *doc, pdf_object *object) {
    pdf_buffer mended = {.arena = doc->arena};
    pdf_put_mended(&mended, object->value);
    if (mended.failed) return PDF_REFUSE_MEMORY;
    object->value = (pdf_span){mended.bytes, mended.bytes + mended.length};
    return pdf_well_formed(object->value) ? PDF_OK : PDF_REFUSE_BROKEN_OBJECT;
}

/* The update copies these values, so they must be well-formed for strict readers too. */
static pdf_refusal check_taken(pdf_document *doc, pdf_structure *found) {
    pdf_object *const taken[] = {&found->catalog, &found->page, &found->annots, &found->form, &found->fields};
    for (unsigned i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (!pdf_spend(doc, WRITING_SEARCHES * (size_t)(taken[i]->value.end - taken[i]->value.at))) return PDF_REFUSE_OBJECTS;
        pdf_refusal refusal = pdf_well_formed(taken[i]->value) ? PDF_OK : mend(doc, taken[i]);
        if (refusal) return refusal;
    }
    return PDF_OK;
}

/* Makes the value of `key` in a dictionary that was taken follow it, unless it is an object of its own, which is then taken. */
static pdf_refusal take_entry(pdf_document *doc, const pdf_object *dict, const char *key, pdf_object *value) {
    if (value->num) return pdf_take(doc, value);
    if (pdf_kind_of(value->value) != PDF_NULL) pdf_get(dict->value, key, &value->value);
    return PDF_OK;
}

/* Takes the objects that the update copies. They must be well-formed. */
static pdf_refusal take_all(pdf_document *doc, pdf_structure *found) {
    pdf_refusal refusal;
    if (!doc->crypt) return PDF_OK;
    if ((refusal = pdf_take(doc, &found->catalog)) || (refusal = pdf_take(doc, &found->page))) return refusal;
    if ((refusal = take_entry(doc, &found->page, "Annots", &found->annots))) return refusal;
    if ((refusal = take_entry(doc, &found->catalog, "AcroForm", &found->form))) return refusal;
    return take_entry(doc, &found->form, "Fields", &found->fields);
}

/* Reads the trailers, of which the newest that has an entry counts. */
static pdf_refusal read_catalog(pdf_document *doc, pdf_structure *found) {
    static const char *const KEYS[] = {"Root", "Encrypt"};
    pdf_span entries[2];
    unsigned ambiguous;
    if (!pdf_get_entries(doc, doc->trailer, KEYS, entries, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    if (ambiguous >> 1 & 1) return PDF_REFUSE_AMBIGUOUS;
    bool tells = pdf_kind_of(entries[1]) != PDF_NULL;
    for (unsigned i = 0; i < 2; i++)
        if (entries[i].at == entries[i].end && doc->section_count > 1) pdf_trailer_get(doc, KEYS[i], &entries[i]);
    /* Some readers take only the newest trailer, so that one decides. */
    if (!tells && pdf_kind_of(entries[1]) != PDF_NULL) return PDF_REFUSE_BROKEN_ENCRYPTION;
    pdf_refusal refusal = pdf_check_encryption(doc, entries[1], &found->encryption);
    if (refusal) return refusal;
    if (entries[0].at == entries[0].end) return PDF_REFUSE_NO_CATALOG;
    if ((refusal = pdf_resolve(doc, entries[0], &found->catalog))) return refusal;
    return pdf_kind_of(found->catalog.value) == PDF_DICT && found->catalog.num ? PDF_OK : PDF_REFUSE_NO_CATALOG;
}

pdf_refusal pdf_read_structure(pdf_document *doc, const pdf_appearance *appearance, pdf_structure *found) {
    enum { PAGES, PERMISSIONS, FORM, MARK_INFO, CATALOG_KEYS };
    static const char *const IN_CATALOG[CATALOG_KEYS] = {"Pages", "Perms", "AcroForm", "MarkInfo"}, *const IN_PAGE[] = {"Annots", "Tabs"};
    pdf_span entries[CATALOG_KEYS], in_page[2];
    pdf_object pages;
    unsigned ambiguous;
    memset(found, 0, sizeof *found);
    pdf_refusal refusal = read_catalog(doc, found);
    if (refusal) return refusal;
    if (!pdf_get_entries(doc, found->catalog.value, IN_CATALOG, entries, CATALOG_KEYS, &ambiguous)) return PDF_REFUSE_OBJECTS;
    found->form_differs = ambiguous >> FORM & 1;
    if ((refusal = pdf_resolve(doc, entries[PAGES], &pages))) return refusal;
    if (pdf_kind_of(pages.value) != PDF_DICT) return PDF_REFUSE_NO_PAGES;
    if ((refusal = pdf_find_page(doc, pages.value, appearance ? appearance->page : 1, &found->page, &found->pages, appearance ? &found->view : NULL))) return refusal;
    if (!found->page.num) return found->pages ? PDF_REFUSE_NO_SUCH_PAGE : PDF_REFUSE_NO_PAGES;
    if (appearance && (refusal = pdf_read_rules(doc, found->catalog.value, &found->rules))) return refusal;
    if (ambiguous >> PERMISSIONS & 1) return PDF_REFUSE_AMBIGUOUS;
    if (!pdf_get_entries(doc, found->page.value, IN_PAGE, in_page, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    found->annots_differ = ambiguous & 1;
    if ((refusal = pdf_resolve(doc, in_page[0], &found->annots))) return refusal;
    if ((refusal = read_form(doc, found, entries[FORM], entries[PERMISSIONS]))) return refusal;
    if ((refusal = read_tabs(doc, found, entries[MARK_INFO], in_page[1]))) return refusal;
    refusal = check_taken(doc, found);
    return refusal ? refusal : take_all(doc, found);
}
