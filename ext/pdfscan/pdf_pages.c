/* Walks the tree of pages (ISO 32000-2 7.7.3), with a stack in the arena in place of recursion. */
#include "pdfscan/pdf_pages.h"

#include "pdfscan/pdf_seen.h"

enum { MEDIA_BOX, CROP_BOX, ROTATE, INHERITED };
enum { TYPE = INHERITED, KIDS, NODE_KEYS };
static const char *const KEYS[NODE_KEYS] = {"MediaBox", "CropBox", "Rotate", "Type", "Kids"};

/* One node whose children are being visited, and what they inherit (7.7.3.4). */
typedef struct {
    pdf_members kids;
    pdf_span inherited[INHERITED];
} level;

typedef struct {
    pdf_document *doc;
    pdf_buffer levels; /* a stack of level */
    pdf_seen seen;
    pdf_object *page;
    uint32_t wanted, found;
    pdf_span inherited[INHERITED]; /* of the page */
} walk;

static bool is_given(pdf_span value) { return value.at < value.end; }

static pdf_refusal push(walk *w, pdf_span kids, const pdf_span *inherited) {
    level below = {.kids = pdf_open(kids)};
    for (unsigned i = 0; i < INHERITED; i++) below.inherited[i] = inherited[i];
    pdf_put(&w->levels, &below, sizeof below);
    return w->levels.failed ? PDF_REFUSE_MEMORY : PDF_OK;
}

/* Looks at the node `reference`: it is a page, or its children are pushed as the next ones to look at. */
static pdf_refusal look_at_node(walk *w, pdf_span reference, const level *above) {
    pdf_object node, kids;
    pdf_span entries[NODE_KEYS];
    pdf_refusal refusal = pdf_resolve(w->doc, reference, &node);
    if (refusal) return refusal;
    if (pdf_kind_of(node.value) != PDF_DICT || !node.num) return PDF_OK;
    if (!pdf_get_entries(w->doc, node.value, KEYS, entries, NODE_KEYS, NULL)) return PDF_REFUSE_OBJECTS;
    for (unsigned i = 0; i < INHERITED; i++)
        if (!is_given(entries[i])) entries[i] = above->inherited[i];
    if (!is_given(entries[KIDS]) || pdf_name_is(entries[TYPE], "Page")) {
        if (++w->found < w->wanted) return PDF_OK;
        *w->page = node;
        for (unsigned i = 0; i < INHERITED; i++) w->inherited[i] = entries[i];
        return PDF_OK;
    }
    /* A node that was seen before is on the way to this one, or has no further page. */
    if (!pdf_is_first_time(&w->seen, node.num)) return PDF_OK;
    if ((refusal = pdf_resolve(w->doc, entries[KIDS], &kids))) return refusal;
    return pdf_kind_of(kids.value) == PDF_ARRAY ? push(w, kids.value, entries) : PDF_OK;
}

bool pdf_to_real(pdf_span value, double *result) {
    const uint8_t *at = value.at, *end = value.end;
    double number = 0, unit = 1;
    unsigned digits = 0;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+')) at++;
    for (; at < end && pdf_is_digit(*at) && digits < 19; at++, digits++) number = number * 10 + (*at - '0');
    if (at < end && *at == '.')
        for (at++; at < end && pdf_is_digit(*at); at++, digits++)
            if (unit > 1e-9) number += (*at - '0') * (unit /= 10);
    if (!digits || at != end) return false;
    *result = negative ? -number : number;
    return true;
}

/* Reads a rectangle, whose corners may stand in any order (7.9.5). Sets *is_box to false if the value is none. */
static pdf_refusal read_box(pdf_document *doc, pdf_span value, pdf_view *view, bool *is_box) {
    pdf_object array, number;
    pdf_span each;
    double corner[4];
    unsigned n = 0;
    *is_box = false;
    pdf_refusal refusal = pdf_resolve(doc, value, &array);
    if (refusal || pdf_kind_of(array.value) != PDF_ARRAY) return refusal;
    pdf_members members = pdf_open(array.value);
    while (n < 4 && pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, &number))) return refusal;
        if (!pdf_to_real(number.value, &corner[n])) return PDF_OK;
        n++;
    }
    if (n < 4) return PDF_OK;
    view->left = corner[0] < corner[2] ? corner[0] : corner[2];
    view->right = corner[0] < corner[2] ? corner[2] : corner[0];
    view->bottom = corner[1] < corner[3] ? corner[1] : corner[3];
    view->top = corner[1] < corner[3] ? corner[3] : corner[1];
    *is_box = view->left < view->right && view->bottom < view->top;
    return PDF_OK;
}

static double larger(double a, double b) { return a > b ? a : b; }
static double smaller(double a, double b) { return a < b ? a : b; }

/* The crop box within the media box, as readers show it. A page without a usable media box is shown as a letter. */
static pdf_refusal read_boxes(walk *w, pdf_view *view) {
    pdf_view crop = {0};
    bool is_box;
    pdf_refusal refusal = read_box(w->doc, w->inherited[MEDIA_BOX], view, &is_box);
    if (refusal) return refusal;
    if (!is_box) *view = (pdf_view){.right = 612, .top = 792};
    if ((refusal = read_box(w->doc, w->inherited[CROP_BOX], &crop, &is_box)) || !is_box) return refusal;
    crop.left = larger(crop.left, view->left);
    crop.bottom = larger(crop.bottom, view->bottom);
    crop.right = smaller(crop.right, view->right);
    crop.top = smaller(crop.top, view->top);
    if (crop.left < crop.right && crop.bottom < crop.top) *view = crop;
    return PDF_OK;
}

static pdf_refusal read_view(walk *w, pdf_view *view) {
    pdf_object entry;
    int64_t turned;
    pdf_refusal refusal = read_boxes(w, view);
    if (refusal) return refusal;
    if ((refusal = pdf_resolve(w->doc, w->inherited[ROTATE], &entry))) return refusal;
    view->rotation = 0;
    if (pdf_to_integer(entry.value, &turned) && turned % 90 == 0) view->rotation = (unsigned)((turned % 360 + 360) % 360);
    /* This entry is not inherited. */
    if ((refusal = pdf_get_resolved(w->doc, w->page->value, "UserUnit", &entry))) return refusal;
    if (!pdf_to_real(entry.value, &view->unit) || view->unit <= 0) view->unit = 1;
    return PDF_OK;
}

pdf_refusal pdf_find_page(pdf_document *doc, pdf_span root, uint32_t number, pdf_object *page, uint32_t *found, pdf_view *view) {
    walk w = {.doc = doc, .levels = {.arena = doc->arena}, .page = page, .wanted = number};
    pdf_span entries[NODE_KEYS], each;
    pdf_object kids;
    if (!pdf_get_entries(doc, root, KEYS, entries, NODE_KEYS, NULL)) return PDF_REFUSE_OBJECTS;
    pdf_refusal refusal = pdf_resolve(doc, entries[KIDS], &kids);
    if (refusal) return refusal;
    if (!pdf_start_seen(&w.seen, doc->arena, doc->size)) return PDF_REFUSE_MEMORY;
    if (pdf_kind_of(kids.value) == PDF_ARRAY) refusal = push(&w, kids.value, entries);
    while (w.levels.length && !refusal && !page->num) {
        level *top = (level *)(void *)(w.levels.bytes + w.levels.length - sizeof *top);
        if (pdf_next(&top->kids, &each)) {
            level above = *top; /* the stack may move while it grows */
            refusal = look_at_node(&w, each, &above);
        } else {
            w.levels.length -= sizeof *top;
        }
    }
    *found = w.found;
    return !refusal && view && page->num ? read_view(&w, view) : refusal;
}
