/* Leaves out tokens that are neither keys nor values. */
#include "pdfscan/pdf_mend.h"

void pdf_put_mended(pdf_buffer *out, pdf_span value) {
    enum { KEY, VALUE, ELEMENT } expects[PDF_MAX_DEPTH + 1];
    unsigned depth = 0;
    const uint8_t *at = value.at, *copied = at;
    expects[0] = ELEMENT;
    while ((at = pdf_skip_space(at, value.end)) < value.end) {
        bool opens_dict = *at == '<' && value.end - at > 1 && at[1] == '<', opens = opens_dict || *at == '[';
        if (*at == ']' || *at == '>') {
            if (!depth) break;
            depth--;
            at += *at == '>' && value.end - at > 1 ? 2 : 1;
            continue;
        }
        bool is_key = *at == '/', wants_key = expects[depth] == KEY;
        if (wants_key && !is_key && opens) break;
        if (is_key || !wants_key)
            if (expects[depth] != ELEMENT) expects[depth] = wants_key ? VALUE : KEY;
        if (opens) {
            if (depth == PDF_MAX_DEPTH) break;
            expects[++depth] = opens_dict ? KEY : ELEMENT;
            at += opens_dict ? 2 : 1;
            continue;
        }
        bool too_deep = false;
        pdf_span token = {at, at};
        if (!pdf_skip_value(&token.end, value.end, 1, &too_deep)) break;
        at = token.end;
        if (!wants_key || is_key) continue;
        pdf_put(out, copied, (size_t)(token.at - copied));
        copied = token.end;
    }
    pdf_put(out, copied, (size_t)(value.end - copied));
}
