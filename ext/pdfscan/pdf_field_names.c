/* Collects the names of fields that the new field must not have: "Signature" and a number without leading zeros. */
#include "pdfscan/pdf_field_names.h"

#include <string.h>

#include "pdfscan/pdf_crypt.h"

void pdf_note_name(pdf_document *doc, pdf_field_names *names, const pdf_object *holder, pdf_span value) {
    static const char PREFIX[] = "Signature";
    enum { PREFIX_CHARS = sizeof PREFIX - 1, MAX_DIGITS = 9 };
    uint8_t bytes[2 * (PREFIX_CHARS + MAX_DIGITS + 1) + 2];
    size_t n = pdf_read_string(doc, holder, value, bytes, sizeof bytes), from = 0, step = 1;
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
    if (number < PDF_TRACKED_NAMES) names->used[number / 64] |= (uint64_t)1 << number % 64;
    if (number > names->highest) names->highest = number;
}

uint32_t pdf_free_name_after(const pdf_field_names *names, uint32_t number) {
    for (uint32_t n = number + 1; n < PDF_TRACKED_NAMES; n++)
        if (!(names->used[n / 64] >> n % 64 & 1)) return n;
    return (names->highest > number ? names->highest : number) + 1;
}

uint32_t pdf_free_name(const pdf_field_names *names) { return pdf_free_name_after(names, 0); }
