/* Writes the appearance of a visible signature. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_APPEARANCE_H
#define BATCHSEAL_PDF_APPEARANCE_H

#include "pdfscan/pdf_writer.h"

/* Finds the place of the signature's area on a page: `place` gets its rectangle in user space, and the matrix that turns the
 * appearance with the page. PDF_REFUSE_OUTSIDE_PAGE says that the area does not fit. */
pdf_refusal pdf_place_area(const pdf_appearance *appearance, const pdf_view *view, pdf_place *place);

/* The same in the widget of an existing field, whose rectangle stays as it is. PDF_REFUSE_OTHER_AREA says that the appearance
 * has another size than the widget. */
pdf_refusal pdf_place_in_field(const pdf_appearance *appearance, const pdf_existing_field *field, pdf_place *place);

/* Writes the objects of the appearance, and returns the number of its form. */
uint32_t pdf_put_appearance(pdf_writer *writer, const pdf_appearance *appearance);

/* Writes four numbers as a rectangle. */
void pdf_put_box(pdf_buffer *out, const double *box);

#endif
