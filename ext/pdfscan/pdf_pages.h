/* Finds a page by its number, and what readers show of it. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_PAGES_H
#define BATCHSEAL_PDF_PAGES_H

#include "pdfscan/pdf_document.h"

/* How a page is shown (14.11.2, 7.7.3.3): the part of user space between two corners, turned clockwise, where a unit of
 * user space takes `unit` points of 1/72 inch. */
typedef struct {
    double left, bottom, right, top;
    unsigned rotation; /* 0, 90, 180 or 270 degrees */
    double unit;
} pdf_view;

/* Finds page `number`, counted from 1, in the tree under `root`. If there is none, page->num is 0 and `*found` is how many
 * pages there are. Reads its view if `view` is not NULL. */
pdf_refusal pdf_find_page(pdf_document *doc, pdf_span root, uint32_t number, pdf_object *page, uint32_t *found, pdf_view *view);

/* Reads a number with a fraction. Returns false if the value is none. */
bool pdf_to_real(pdf_span value, double *result);

#endif
