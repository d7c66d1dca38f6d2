/* The appearance of a visible signature: its place on the page, and its objects (ISO 32000-2 12.5.5, 8.10). */
#include "pdfscan/pdf_appearance.h"

#include "pdfscan/pdf_edit.h"

/* Areas end at a page's edge although binary fractions do not. */
static const double TOLERANCE = 0.01;
enum { DECIMALS = 10000 };

/* Whether the page stands on its side. */
static bool is_turned(const pdf_view *view) { return view->rotation % 180 != 0; }

/* From a point in user space to points from the lower left corner of the page as it is shown. */
static void to_shown(const pdf_view *view, double x, double y, double *shown_x, double *shown_y) {
    double right = x - view->left, up = y - view->bottom, width = view->right - view->left, height = view->top - view->bottom;
    switch (view->rotation) {
    case 90: *shown_x = up, *shown_y = width - right; break;
    case 180: *shown_x = width - right, *shown_y = height - up; break;
    case 270: *shown_x = height - up, *shown_y = right; break;
    default: *shown_x = right, *shown_y = up;
    }
    *shown_x *= view->unit;
    *shown_y *= view->unit;
}

/* The appearance is upright where its x axis points to the right of the page as it is shown. A reader then fits the turned
 * box into the rectangle, whatever its size (12.5.5, algorithm "appearance streams"). */
static void turn_upright(const pdf_appearance *appearance, unsigned rotation, pdf_place *place) {
    static const double TURNS[4][4] = {{1, 0, 0, 1}, {0, 1, -1, 0}, {-1, 0, 0, -1}, {0, -1, 1, 0}};
    const double *turn = TURNS[rotation / 90];
    for (unsigned i = 0; i < 4; i++) place->matrix[i] = turn[i];
    place->matrix[4] = rotation == 90 ? appearance->height : rotation == 180 ? appearance->width : 0;
    place->matrix[5] = rotation == 180 ? appearance->height : rotation == 270 ? appearance->width : 0;
}

static bool is_close(double a, double b) { return a - b < TOLERANCE && b - a < TOLERANCE; }

pdf_refusal pdf_place_in_field(const pdf_appearance *appearance, const pdf_existing_field *field, pdf_place *place) {
    turn_upright(appearance, field->rotation, place);
    return is_close(appearance->width, field->width) && is_close(appearance->height, field->height) ? PDF_OK : PDF_REFUSE_OTHER_AREA;
}

pdf_refusal pdf_place_area(const pdf_appearance *appearance, const pdf_view *view, pdf_place *place) {
    double width = view->right - view->left, height = view->top - view->bottom, x = appearance->x, y = appearance->y;
    double wide = appearance->width, high = appearance->height, unit = view->unit;
    place->page_width = (is_turned(view) ? height : width) * unit;
    place->page_height = (is_turned(view) ? width : height) * unit;
    if (appearance->is_upper_left) {
        to_shown(view, x, y, &x, &y);
        y -= high;
    }
    if (!(x >= -TOLERANCE && y >= -TOLERANCE && x + wide <= place->page_width + TOLERANCE && y + high <= place->page_height + TOLERANCE))
        return PDF_REFUSE_OUTSIDE_PAGE;
    x /= unit, y /= unit, wide /= unit, high /= unit;
    double left = x, bottom = y;
    turn_upright(appearance, view->rotation, place);
    if (view->rotation == 90) left = width - y - high, bottom = x;
    if (view->rotation == 180) left = width - x - wide, bottom = height - y - high;
    if (view->rotation == 270) left = y, bottom = height - x - wide;
    place->rectangle[0] = view->left + left;
    place->rectangle[1] = view->bottom + bottom;
    place->rectangle[2] = place->rectangle[0] + (is_turned(view) ? high : wide);
    place->rectangle[3] = place->rectangle[1] + (is_turned(view) ? wide : high);
    return PDF_OK;
}

/* Writes a number with at most four decimals. */
static void put_real(pdf_buffer *out, double value) {
    if (value < 0) pdf_puts(out, "-");
    uint64_t parts = (uint64_t)((value < 0 ? -value : value) * DECIMALS + 0.5);
    pdf_put_number(out, parts / DECIMALS, 1);
    if (!(parts %= DECIMALS)) return;
    unsigned digits = 4;
    for (; parts % 10 == 0; digits--) parts /= 10;
    pdf_puts(out, ".");
    pdf_put_number(out, parts, digits);
}

static void put_reals(pdf_buffer *out, const double *values, unsigned n) {
    pdf_puts(out, "[");
    for (unsigned i = 0; i < n; i++) {
        if (i) pdf_puts(out, " ");
        put_real(out, values[i]);
    }
    pdf_puts(out, "]");
}

void pdf_put_box(pdf_buffer *out, const double *box) { put_reals(out, box, 4); }

/* Copies the entries of the object that was begun last. Object i of the appearance stands in them as PDF_OBJECT_MARK and the
 * letter 'A' + i, and a text string between two of PDF_TEXT_MARK. */
static void put_entries(pdf_writer *w, pdf_buffer *out, pdf_span entries, uint32_t first) {
    pdf_buffer *before = w->out;
    const uint8_t *at = entries.at;
    w->out = out;
    for (const uint8_t *mark = at; mark < entries.end; mark++) {
        if (*mark != PDF_OBJECT_MARK && *mark != PDF_TEXT_MARK) continue;
        pdf_put(out, at, (size_t)(mark - at));
        at = mark + 1;
        if (*mark == PDF_OBJECT_MARK && at < entries.end) {
            pdf_put_ref(out, (uint64_t)first + *at - 'A', 0);
            mark = at++;
        } else if (*mark == PDF_TEXT_MARK) {
            for (mark = at; mark < entries.end && *mark != PDF_TEXT_MARK; mark++) {
            }
            pdf_put_text_string(w, (pdf_text){at, (size_t)(mark - at)});
            at = mark < entries.end ? mark + 1 : mark;
        }
    }
    pdf_put(out, at, (size_t)(entries.end - at));
    w->out = before;
}

uint32_t pdf_put_appearance(pdf_writer *w, const pdf_appearance *appearance) {
    uint32_t first = (uint32_t)w->next_number;
    w->next_number += appearance->count;
    for (unsigned i = 0; i < appearance->count; i++) {
        const pdf_drawn_object *object = &appearance->objects[i];
        pdf_begin_object(w, first + i, 0);
        if (!object->has_stream) {
            pdf_puts(w->out, "<<");
            put_entries(w, w->out, object->entries, first);
            pdf_puts(w->out, ">>");
        } else {
            pdf_buffer entries = {.arena = w->doc->arena};
            put_entries(w, &entries, object->entries, first);
            if (i == 0) {
                pdf_puts(&entries, "/Matrix");
                put_reals(&entries, w->structure->place.matrix, 6);
            }
            pdf_put(&entries, "", 1);
            w->out->failed |= entries.failed;
            if (!entries.failed) pdf_put_drawn_stream(w, (const char *)entries.bytes, i, object);
        }
        pdf_end_object(w);
    }
    return first;
}
