/* Finds the parts of a document that a signature changes: the catalog, the first page, and the form with its fields (ISO
 * 32000-2 7.7, 12.7). */
#include "pdfscan/pdf_structure.h"

#include <string.h>

#include "pdfscan/pdf_seen.h"

/* Looks at the node `reference`: it is the first page, or its children are pushed as the next ones to look at. */
static pdf_refusal look_at_node(pdf_document *doc, pdf_span reference, pdf_buffer *levels, pdf_seen *seen, pdf_object *page) {
    static const char *const KEYS[] = {"Type", "Kids"};
    pdf_object node, kids;
    pdf_span entries[2];
    pdf_refusal refusal = pdf_resolve(doc, reference, &node);
    if (refusal) return refusal;
    if (pdf_kind_of(node.value) != PDF_DICT || !node.num) return PDF_OK;
    if (!pdf_get_entries(doc, node.value, KEYS, entries, 2, NULL)) return PDF_REFUSE_OBJECTS;
    if (entries[1].at == entries[1].end || pdf_name_is(entries[0], "Page")) {
        *page = node;
        return PDF_OK;
    }
    /* A node that was seen before is on the way to this one, or has no page. */
    if (!pdf_is_first_time(seen, node.num)) return PDF_OK;
    if ((refusal = pdf_resolve(doc, entries[1], &kids))) return refusal;
    pdf_members members = pdf_open(kids.value);
    if (pdf_kind_of(kids.value) == PDF_ARRAY) pdf_put(levels, &members, sizeof members);
    return levels->failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

/* Finds the first page in the tree under `root`, which may have any number of levels. */
static pdf_refusal first_page(pdf_document *doc, pdf_span root, pdf_object *page) {
    pdf_buffer levels = {.arena = doc->arena}; /* a stack of pdf_members */
    pdf_seen seen;
    pdf_object kids;
    pdf_span each;
    pdf_refusal refusal = pdf_get_resolved(doc, root, "Kids", &kids);
    if (refusal) return refusal;
    pdf_members members = pdf_open(kids.value);
    if (!pdf_start_seen(&seen, doc->arena, doc->size)) return PDF_REFUSE_MEMORY;
    if (pdf_kind_of(kids.value) == PDF_ARRAY) pdf_put(&levels, &members, sizeof members);
    while (levels.length && !refusal && !page->num) {
        pdf_members *top = (pdf_members *)(void *)(levels.bytes + levels.length - sizeof *top);
        if (pdf_next(top, &each))
            refusal = look_at_node(doc, each, &levels, &seen, page);
        else
            levels.length -= sizeof *top;
    }
    return refusal;
}

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
    if ((refusal = pdf_check_signature(doc, certification.value, &fields.names))) return refusal;
    if ((refusal = pdf_resolve(doc, form, &found->form))) return refusal;
    if (!pdf_get_entries(doc, found->form.value, KEYS, entries, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    found->fields_differ = ambiguous & 1;
    found->flags_differ = ambiguous >> 1 & 1;
    if ((refusal = pdf_resolve(doc, entries[0], &found->fields))) return refusal;
    if ((refusal = pdf_walk_fields(doc, found->fields.value, &fields))) return refusal;
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
enum { WRITING_SEARCHES = 8 };

/* The update copies these values without repairing them, so they must be well-formed for strict readers too. */
static pdf_refusal check_taken(pdf_document *doc, const pdf_structure *found) {
    const pdf_object *taken[] = {&found->catalog, &found->page, &found->annots, &found->form, &found->fields};
    for (unsigned i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (!pdf_spend(doc, WRITING_SEARCHES * (size_t)(taken[i]->value.end - taken[i]->value.at))) return PDF_REFUSE_OBJECTS;
        if (!pdf_well_formed(taken[i]->value)) return PDF_REFUSE_BROKEN_OBJECT;
    }
    return PDF_OK;
}

/* Answers that the document is encrypted, if it is, and notes what its encryption permits to readers who open it without
 * the owner's password. */
static pdf_refusal check_encryption(pdf_document *doc, pdf_structure *found, pdf_span entry) {
    pdf_object encryption, filter, permissions;
    int64_t bits;
    pdf_refusal refusal = pdf_resolve(doc, entry, &encryption);
    if (refusal || pdf_kind_of(encryption.value) == PDF_NULL) return refusal;
    if (!pdf_get_resolved(doc, encryption.value, "Filter", &filter) && !pdf_get_resolved(doc, encryption.value, "P", &permissions) &&
        pdf_name_is(filter.value, "Standard") && pdf_to_integer(permissions.value, &bits)) {
        found->is_restricted = true;
        found->permissions = (uint32_t)bits;
    }
    return PDF_REFUSE_ENCRYPTED;
}

/* Reads the trailers, of which the newest that has an entry counts. */
static pdf_refusal read_catalog(pdf_document *doc, pdf_structure *found) {
    static const char *const KEYS[] = {"Root", "Encrypt"};
    pdf_span entries[2];
    unsigned ambiguous;
    if (!pdf_get_entries(doc, doc->trailer, KEYS, entries, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    if (ambiguous >> 1 & 1) return PDF_REFUSE_AMBIGUOUS;
    for (unsigned i = 0; i < 2; i++)
        if (entries[i].at == entries[i].end && doc->section_count > 1) pdf_trailer_get(doc, KEYS[i], &entries[i]);
    pdf_refusal refusal = check_encryption(doc, found, entries[1]);
    if (refusal) return refusal;
    if (entries[0].at == entries[0].end) return PDF_REFUSE_NO_CATALOG;
    if ((refusal = pdf_resolve(doc, entries[0], &found->catalog))) return refusal;
    return pdf_kind_of(found->catalog.value) == PDF_DICT && found->catalog.num ? PDF_OK : PDF_REFUSE_NO_CATALOG;
}

pdf_refusal pdf_read_structure(pdf_document *doc, pdf_structure *found) {
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
    if ((refusal = first_page(doc, pages.value, &found->page))) return refusal;
    if (!found->page.num) return PDF_REFUSE_NO_PAGES;
    if (ambiguous >> PERMISSIONS & 1) return PDF_REFUSE_AMBIGUOUS;
    if (!pdf_get_entries(doc, found->page.value, IN_PAGE, in_page, 2, &ambiguous)) return PDF_REFUSE_OBJECTS;
    found->annots_differ = ambiguous & 1;
    if ((refusal = pdf_resolve(doc, in_page[0], &found->annots))) return refusal;
    if ((refusal = read_form(doc, found, entries[FORM], entries[PERMISSIONS]))) return refusal;
    if ((refusal = read_tabs(doc, found, entries[MARK_INFO], in_page[1]))) return refusal;
    return check_taken(doc, found);
}
