/* Finds the parts of a document that a signature changes or must respect: the catalog, the first page, the interactive
 * form, and the permissions of existing signatures (ISO 32000-2 12.7, 12.8). */
#include <string.h>

#include "pdfscan/pdf_document.h"

enum { TRACKED_NAMES = 1024 };

typedef struct {
    pdf_document *doc;
    pdf_structure *found;
    uint64_t used[TRACKED_NAMES / 64]; /* bit n is set if a field is called Signature<n> */
    uint32_t highest;
    bool all_fields; /* the document may have signatures, so every field must be visited */
} form_walk;

static pdf_refusal first_page(pdf_document *doc, pdf_span node, unsigned depth, pdf_object *page) {
    pdf_object kids, kid;
    pdf_span each, type;
    if (depth > doc->limits->depth) return PDF_REFUSE_DEPTH;
    pdf_refusal refusal = pdf_get_resolved(doc, node, "Kids", &kids);
    if (refusal) return refusal;
    pdf_members members = pdf_open(kids.value);
    if (pdf_kind_of(kids.value) != PDF_ARRAY) return PDF_OK;
    while (pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, &kid))) return refusal;
        if (pdf_kind_of(kid.value) != PDF_DICT || !kid.num) continue;
        bool typed = pdf_get(kid.value, "Type", &type);
        if (!pdf_get(kid.value, "Kids", &each) || (typed && pdf_name_is(type, "Page"))) {
            *page = kid;
            return PDF_OK;
        }
        if ((refusal = first_page(doc, kid.value, depth + 1, page)) || page->num) return refusal;
    }
    return PDF_OK;
}

static int hex_digit(uint8_t c) {
    if (pdf_is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes a string object, at most `room` bytes of it. Returns the number of bytes. */
static size_t string_bytes(pdf_span value, uint8_t *out, size_t room) {
    size_t n = 0;
    if (pdf_kind_of(value) != PDF_STRING) return 0;
    if (*value.at == '<') {
        int high = -1;
        for (const uint8_t *at = value.at + 1; at < value.end && n < room; at++) {
            int digit = hex_digit(*at);
            if (digit < 0) continue;
            if (high >= 0) out[n++] = (uint8_t)(high << 4 | digit);
            high = high < 0 ? digit : -1;
        }
        return n;
    }
    for (const uint8_t *at = value.at + 1; at < value.end - 1 && n < room; at++) {
        uint8_t c = *at;
        if (c == '\\' && at + 1 < value.end - 1) {
            c = *++at;
            if (c >= '0' && c <= '7') {
                unsigned code = 0, digits = 0;
                for (; digits < 3 && at < value.end - 1 && *at >= '0' && *at <= '7'; digits++) code = code * 8 + (unsigned)(*at++ - '0');
                at--;
                c = (uint8_t)code;
            } else if (c == '\n' || c == '\r') {
                if (c == '\r' && at + 1 < value.end - 1 && at[1] == '\n') at++;
                continue;
            }
        }
        out[n++] = c;
    }
    return n;
}

/* Remembers a field name that the new field must not have: "Signature" and a number without leading zeros. */
static void note_name(form_walk *walk, pdf_span value) {
    static const char PREFIX[] = "Signature";
    enum { PREFIX_CHARS = sizeof PREFIX - 1, MAX_DIGITS = 9 };
    uint8_t bytes[2 * (PREFIX_CHARS + MAX_DIGITS + 1) + 2];
    size_t n = string_bytes(value, bytes, sizeof bytes), from = 0, step = 1;
    if (n >= 2 && bytes[0] == 0xfe && bytes[1] == 0xff) from = 3, step = 2; /* UTF-16BE: take the low bytes */
    if (n >= 3 && bytes[0] == 0xef && bytes[1] == 0xbb && bytes[2] == 0xbf) from = 3;
    char name[PREFIX_CHARS + MAX_DIGITS + 2];
    size_t length = 0;
    for (size_t i = from; i < n && length < sizeof name; i += step) {
        if (step == 2 && bytes[i - 1]) return;
        name[length++] = (char)bytes[i];
    }
    if (length <= PREFIX_CHARS || length > PREFIX_CHARS + MAX_DIGITS || memcmp(name, PREFIX, PREFIX_CHARS) != 0 || name[PREFIX_CHARS] == '0') return;
    uint32_t number = 0;
    for (size_t i = PREFIX_CHARS; i < length; i++) {
        if (!pdf_is_digit((uint8_t)name[i])) return;
        number = number * 10 + (uint32_t)(name[i] - '0');
    }
    if (number < TRACKED_NAMES) walk->used[number / 64] |= (uint64_t)1 << number % 64;
    if (number > walk->highest) walk->highest = number;
}

/* 12.8.2.4: whether an existing signature locks fields that do not exist yet. The new field would then invalidate
 * it. */
static pdf_refusal check_locks(form_walk *walk, pdf_span parameters) {
    pdf_object action, fields, name;
    pdf_span each;
    pdf_refusal refusal = pdf_get_resolved(walk->doc, parameters, "Action", &action);
    if (refusal) return refusal;
    if (pdf_name_is(action.value, "All") || pdf_name_is(action.value, "Exclude")) return PDF_REFUSE_LOCKED;
    if ((refusal = pdf_get_resolved(walk->doc, parameters, "Fields", &fields))) return refusal;
    pdf_members members = pdf_open(fields.value);
    while (pdf_kind_of(fields.value) == PDF_ARRAY && pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(walk->doc, each, &name))) return refusal;
        note_name(walk, name.value);
    }
    return PDF_OK;
}

/* 12.8.2.2 and 12.8.2.4: whether an existing signature permits a further one. */
static pdf_refusal check_transforms(form_walk *walk, pdf_span signature) {
    pdf_document *doc = walk->doc;
    pdf_object list, reference, method, parameters, value;
    pdf_span each;
    int64_t level;
    pdf_refusal refusal = pdf_get_resolved(doc, signature, "Reference", &list);
    if (refusal) return refusal;
    if (pdf_kind_of(list.value) != PDF_ARRAY) return PDF_OK;
    pdf_members members = pdf_open(list.value);
    while (pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, &reference))) return refusal;
        if ((refusal = pdf_get_resolved(doc, reference.value, "TransformMethod", &method))) return refusal;
        if ((refusal = pdf_get_resolved(doc, reference.value, "TransformParams", &parameters))) return refusal;
        if ((refusal = pdf_get_resolved(doc, parameters.value, "P", &value))) return refusal;
        bool forbids = pdf_to_integer(value.value, &level) && level == 1;
        if (forbids && pdf_name_is(method.value, "DocMDP")) return PDF_REFUSE_CERTIFIED;
        if (forbids && pdf_name_is(method.value, "FieldMDP")) return PDF_REFUSE_LOCKED;
        if (pdf_name_is(method.value, "FieldMDP") && (refusal = check_locks(walk, parameters.value))) return refusal;
    }
    return PDF_OK;
}

static pdf_refusal walk_field(form_walk *walk, pdf_span value, bool named, unsigned depth) {
    pdf_object field, kids, signature, type, name;
    pdf_span each;
    pdf_document *doc = walk->doc;
    if (depth > doc->limits->depth) return PDF_REFUSE_DEPTH;
    pdf_refusal refusal = pdf_resolve(doc, value, &field);
    if (refusal) return refusal;
    if (!named) {
        if ((refusal = pdf_get_resolved(doc, field.value, "T", &name))) return refusal;
        named = pdf_kind_of(name.value) == PDF_STRING;
        note_name(walk, name.value);
    }
    if ((refusal = pdf_get_resolved(doc, field.value, "FT", &type))) return refusal;
    if (pdf_name_is(type.value, "Sig")) {
        if ((refusal = pdf_get_resolved(doc, field.value, "V", &signature))) return refusal;
        if (pdf_kind_of(signature.value) == PDF_DICT) {
            walk->found->has_signatures = true;
            if ((refusal = check_transforms(walk, signature.value))) return refusal;
        }
    }
    if (named && !walk->all_fields) return PDF_OK;
    if ((refusal = pdf_get_resolved(doc, field.value, "Kids", &kids))) return refusal;
    if (pdf_kind_of(kids.value) != PDF_ARRAY) return PDF_OK;
    pdf_members members = pdf_open(kids.value);
    while (pdf_next(&members, &each))
        if ((refusal = walk_field(walk, each, named, depth + 1))) return refusal;
    return PDF_OK;
}

static uint32_t free_number(const form_walk *walk) {
    for (uint32_t n = 1; n < TRACKED_NAMES; n++)
        if (!(walk->used[n / 64] >> n % 64 & 1)) return n;
    return walk->highest + 1;
}

static pdf_refusal read_form(pdf_document *doc, pdf_structure *found) {
    form_walk walk = {.doc = doc, .found = found};
    pdf_object flags, permissions, certification;
    pdf_span each;
    int64_t bits;
    pdf_refusal refusal = pdf_get_resolved(doc, found->catalog.value, "Perms", &permissions);
    if (refusal) return refusal;
    if ((refusal = pdf_get_resolved(doc, permissions.value, "DocMDP", &certification))) return refusal;
    if ((refusal = check_transforms(&walk, certification.value))) return refusal;
    if ((refusal = pdf_get_resolved(doc, found->catalog.value, "AcroForm", &found->form))) return refusal;
    if ((refusal = pdf_get_resolved(doc, found->form.value, "SigFlags", &flags))) return refusal;
    walk.all_fields = doc->rebuilt || pdf_kind_of(permissions.value) == PDF_DICT || (pdf_to_integer(flags.value, &bits) && bits & 1);
    if ((refusal = pdf_get_resolved(doc, found->form.value, "Fields", &found->fields))) return refusal;
    pdf_members members = pdf_open(found->fields.value);
    if (pdf_kind_of(found->fields.value) == PDF_ARRAY)
        while (pdf_next(&members, &each))
            if ((refusal = walk_field(&walk, each, false, 0))) return refusal;
    found->field_number = free_number(&walk);
    return PDF_OK;
}

/* The update copies these values without repairing them, so they must be well-formed for strict readers too. */
static bool usable(const pdf_structure *found) {
    const pdf_object *taken[] = {&found->catalog, &found->page, &found->annots, &found->form, &found->fields};
    for (unsigned i = 0; i < sizeof taken / sizeof *taken; i++)
        if (!pdf_well_formed(taken[i]->value)) return false;
    return true;
}

pdf_refusal pdf_read_structure(pdf_document *doc, pdf_structure *found) {
    pdf_span root, encrypt;
    pdf_object pages, resolved;
    memset(found, 0, sizeof *found);
    if (pdf_trailer_get(doc, "Encrypt", &encrypt)) {
        pdf_refusal refusal = pdf_resolve(doc, encrypt, &resolved);
        if (refusal) return refusal;
        if (pdf_kind_of(resolved.value) != PDF_NULL) return PDF_REFUSE_ENCRYPTED;
    }
    if (!pdf_trailer_get(doc, "Root", &root)) return PDF_REFUSE_NO_CATALOG;
    pdf_refusal refusal = pdf_resolve(doc, root, &found->catalog);
    if (refusal) return refusal;
    if (pdf_kind_of(found->catalog.value) != PDF_DICT || !found->catalog.num) return PDF_REFUSE_NO_CATALOG;
    if ((refusal = pdf_get_resolved(doc, found->catalog.value, "Pages", &pages))) return refusal;
    if (pdf_kind_of(pages.value) != PDF_DICT) return PDF_REFUSE_NO_PAGES;
    if ((refusal = first_page(doc, pages.value, 0, &found->page))) return refusal;
    if (!found->page.num) return PDF_REFUSE_NO_PAGES;
    if ((refusal = pdf_get_resolved(doc, found->page.value, "Annots", &found->annots))) return refusal;
    if ((refusal = read_form(doc, found))) return refusal;
    return usable(found) ? PDF_OK : PDF_REFUSE_BROKEN_OBJECT;
}
