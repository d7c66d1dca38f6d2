/* Writes what a signature changes in a field that exists. Internal to pdfscan. */
#ifndef BATCHSEAL_PDF_FIELD_UPDATE_H
#define BATCHSEAL_PDF_FIELD_UPDATE_H

#include "pdfscan/pdf_writer.h"

/* Writes /Reference of the signature dictionary: what the lock of the field forbids from now on (12.8.2.2, 12.8.2.4).
 * `digest_method` is that of the signature. Writes nothing where the field has no lock. */
void pdf_put_lock(pdf_writer *writer, const char *digest_method);

/* Writes the field with its value, and its widget where that is another dictionary and changes too. `appearance` is the
 * object that the widget shows in place of what it has; 0 keeps what it has. */
void pdf_put_existing_field(pdf_writer *writer, uint32_t signature, uint32_t appearance);

#endif
