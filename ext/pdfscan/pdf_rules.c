/* Reads which part of PDF/A a document claims (ISO 19005-1 6.7.11) and which colours its output intent is for (ISO 32000-2
 * 14.11.5). A document that claims none is treated as one only where it has an output intent. */
#include "pdfscan/pdf_rules.h"

#include "pdfscan/pdf_crypt.h"

/* After this refusal the entry is as good as missing: other readers would say the same of it. */
static bool is_forgiven(pdf_refusal refusal) { return refusal == PDF_REFUSE_FILTER || refusal == PDF_REFUSE_BROKEN_OBJECT || refusal == PDF_REFUSE_BROKEN_XREF || refusal == PDF_REFUSE_DEPTH; }

/* The number behind `pdfaid:part`, which is an attribute or an element (ISO 16684-1 7.4). */
static unsigned part_in(pdf_span xmp) {
    const uint8_t *at = pdf_find(xmp.at, xmp.end, "pdfaid:part");
    if (!at) return 0;
    for (at += 11; at < xmp.end && (pdf_is_space(*at) || *at == '=' || *at == '>' || *at == '"' || *at == '\''); at++) {
    }
    return at < xmp.end && *at >= '1' && *at <= '9' ? (unsigned)(*at - '0') : 0;
}

static pdf_refusal read_part(pdf_document *doc, pdf_span metadata, unsigned *part) {
    pdf_object stream;
    pdf_span raw, xmp;
    *part = 0;
    pdf_refusal refusal = pdf_resolve(doc, metadata, &stream);
    if (refusal || pdf_kind_of(stream.value) != PDF_DICT || !stream.num || stream.compressed) return refusal;
    if (!pdf_stream_bytes(doc, stream.value, doc->file.end, &raw)) return PDF_OK;
    bool is_clear = doc->crypt && doc->crypt->keeps_metadata_clear;
    if (!is_clear && (refusal = pdf_decrypt_data(doc, &stream, stream.value, &raw))) return refusal;
    if ((refusal = pdf_decode_stream(doc, stream.value, raw, &xmp))) return refusal;
    if (!pdf_spend(doc, (size_t)(xmp.end - xmp.at))) return PDF_REFUSE_OBJECTS;
    *part = part_in(xmp);
    return PDF_OK;
}

/* The number of colours of the first output intent that has a profile, 0 if there is none. That of PDF/A goes before others. */
static pdf_refusal read_intent(pdf_document *doc, pdf_span intents, int64_t *colours) {
    pdf_object array, intent, entry, profile;
    pdf_span each;
    int64_t n;
    *colours = 0;
    pdf_refusal refusal = pdf_resolve(doc, intents, &array);
    if (refusal || pdf_kind_of(array.value) != PDF_ARRAY) return refusal;
    pdf_members members = pdf_open(array.value);
    while (pdf_next(&members, &each)) {
        if ((refusal = pdf_resolve(doc, each, &intent))) return refusal;
        if ((refusal = pdf_get_resolved(doc, intent.value, "DestOutputProfile", &profile))) return refusal;
        if ((refusal = pdf_get_resolved(doc, profile.value, "N", &entry))) return refusal;
        if (!pdf_to_integer(entry.value, &n) || n < 1 || n > 4) continue;
        if ((refusal = pdf_get_resolved(doc, intent.value, "S", &entry))) return refusal;
        bool is_archive = pdf_name_is(entry.value, "GTS_PDFA1");
        if (!*colours || is_archive) *colours = n;
        if (is_archive) break;
    }
    return PDF_OK;
}

pdf_refusal pdf_read_rules(pdf_document *doc, pdf_span catalog, unsigned *rules) {
    static const char *const KEYS[] = {"Metadata", "OutputIntents"};
    pdf_span entries[2];
    unsigned part;
    int64_t colours;
    *rules = 0;
    if (!pdf_get_entries(doc, catalog, KEYS, entries, 2, NULL)) return PDF_REFUSE_OBJECTS;
    pdf_refusal refusal = read_part(doc, entries[0], &part);
    if (refusal && !is_forgiven(refusal)) return refusal;
    refusal = read_intent(doc, entries[1], &colours);
    if (refusal && !is_forgiven(refusal)) return refusal;
    /* ISO 19005-1 6.2.3.3, 19005-2 6.2.4.3: device colours are those of the output intent. */
    if (colours != 3 && (part || colours)) *rules |= PDF_RULE_CALIBRATED;
    /* ISO 19005-1 6.4; 19005-2 6.2.10 demands a colour space for blending of every page if there is no output intent. */
    if (part == 1 || (part && !colours)) *rules |= PDF_RULE_OPAQUE;
    /* ISO 19005-1 6.3.5: a subset says which glyphs it has. Later parts need no such list. */
    if (part == 1) *rules |= PDF_RULE_CID_SET;
    return PDF_OK;
}
