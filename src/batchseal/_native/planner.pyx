# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""Plans the incremental update that signs a PDF (ISO 32000-2 7.5.6, 12.8).

The original is only read, never copied, and the GIL is released meanwhile. A document that cannot be signed gives a
PlanRefusal with a code and a message for a person. Only a mistake of the caller raises an exception. Digests, the CMS and
joining the parts are left to the callers.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

cimport cython


# What a document demands of an appearance (bits), and what stands in entries: see Appearance.
RULE_CALIBRATED = <int> PDF_RULE_CALIBRATED
RULE_OPAQUE = <int> PDF_RULE_OPAQUE
RULE_CID_SET = <int> PDF_RULE_CID_SET
OBJECT_MARK = bytes([<int> PDF_OBJECT_MARK])
TEXT_MARK = bytes([<int> PDF_TEXT_MARK])
XREF_FORMS = ("table", "stream", "hybrid")


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlannedSection:
    """The section behind an update, as far as it is known before its material. It can be kept: `section` writes it.

    `objects` are whole objects, and with a time stamp the beginning of its dictionary; `rows` says where each is.
    `certificates`, `ocsp_responses` and `crls` are references that an existing DSS dictionary holds, `others` are its other
    entries. `dss` and `dss_generation` name the object that becomes the DSS dictionary, `next_number` is the next free
    number. `start` and `previous` are offsets in the signed file: of this section, and of the xref section before it.
    `trailer` is an offset in the tail of the update, `range_at` one in `objects`. `cipher` is how the section is encrypted, with
    the file key; it is empty where the document is not encrypted.
    """

    objects: bytes
    rows: bytes
    certificates: bytes
    ocsp_responses: bytes
    crls: bytes
    others: bytes
    dss: int
    dss_generation: int
    next_number: int
    start: int
    previous: int
    trailer: int
    range_at: int
    is_stream: bool
    has_time_stamp: bool
    cipher: bytes = b""


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlannedUpdate:
    """An update. The signed file is original + head + b"<" + hex + b">" + tail, and the section behind it.

    The original begins at its %PDF header there: `skipped_bytes` stand before it, and all offsets count from it (ISO
    32000-2 7.5.2). `reserved_bytes` is the length of b"<" + hex + b">". `byte_range` holds the four numbers of /ByteRange.
    `xref_form` is one of XREF_FORMS. `rebuilt` is true if the xref of the original was unusable; the update then lists all
    objects and has no /Prev.
    `section` is a PlannedSection, or None if none was asked for.
    `seed_values` is what an existing field demands of its signature (/SV), and /P of its lock
    or 0, in the form that ext/pdfscan/pdf_seed_values.c describes; empty where it demands nothing.

    `inserted` has an offset for each stream in `Appearance.shared`, in order: the stream belongs
    into the tail in front of the byte with this offset. The ByteRange counts it.
    """

    head: bytes
    reserved_bytes: int
    tail: bytes
    byte_range: tuple
    field_name: str
    xref_form: str
    rebuilt: bool
    inserted: tuple = ()
    seed_values: bytes = b""
    section: object = None
    skipped_bytes: int = 0


@cython.final
cdef class Appearance:
    """The objects of a visible signature's appearance, ready to be copied into updates.

    `objects` are triples: the entries of a dictionary; the encoded data of a stream, or None;
    whether the data is shared, which leaves it out of the plan. The first one is the form. In
    entries, OBJECT_MARK and the letter 65 + i stand for a reference to object i, and a text
    string stands between two of TEXT_MARK. `rules` are
    those that the objects keep. `width` and `height` are the sides of the form's box, in points.
    """

    cdef pdf_drawn_object objects_in_c[PDF_MOST_DRAWN]
    cdef readonly tuple objects
    cdef readonly tuple shared
    cdef readonly int rules
    cdef readonly double width
    cdef readonly double height

    def __init__(self, objects, *, int rules, double width, double height):
        self.objects = tuple(objects)
        self.shared = tuple([stream for _, stream, is_shared in self.objects if is_shared and stream is not None])
        self.rules, self.width, self.height = rules, width, height
        if not 0 < len(self.objects) <= PDF_MOST_DRAWN:
            raise ValueError("an appearance has from 1 to 12 objects")
        memset(self.objects_in_c, 0, sizeof(self.objects_in_c))
        for i, (entries, stream, is_shared) in enumerate(self.objects):
            _set_span(&self.objects_in_c[i].entries, entries)
            self.objects_in_c[i].has_stream = stream is not None
            self.objects_in_c[i].is_shared = is_shared
            if stream is not None:
                _set_span(&self.objects_in_c[i].stream, stream)


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class OtherRules:
    """The document demands an appearance that keeps these rules."""

    rules: int


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class OtherArea:
    """The field demands an appearance with these sides, in points."""

    width: float
    height: float


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlanRefusal:
    """Why a document cannot be signed: a code that never changes, and a message for a person."""

    code: str
    message: str


cdef void _set_span(pdf_span *span, bytes content):
    # The caller keeps the bytes.
    span.at = <const uint8_t *> PyBytes_AS_STRING(content)
    span.end = span.at + len(content)


cdef bytes _utf8(text):
    # Half of a surrogate pair has no UTF-8 form and becomes a question mark.
    return None if text is None else (<str> text).encode("utf-8", "replace")


cdef void _set_text(pdf_text *text, bytes encoded):
    if encoded is not None:
        text.utf8 = encoded
        text.bytes = len(encoded)


cdef bytes _bytes(const pdf_buffer *buffer):
    if not buffer.length:
        return b""
    return PyBytes_FromStringAndSize(<const char *> buffer.bytes, buffer.length)


cdef PlanRefusal _refused(pdf_refusal refusal):
    return PlanRefusal(pdf_refusal_code(refusal).decode(), pdf_refusal_message(refusal).decode())


cdef PlanRefusal _forbidden(const pdf_plan *plan):
    """Tells what the document restricts, since its owner may think of something else."""
    from batchseal._native.pdf_encryption import RESTRICTIONS

    refusal = _refused(PDF_REFUSE_FORBIDDEN)
    # Revision 2 has bits 3 to 6 alone.
    known = RESTRICTIONS[:4] if plan.encryption.revision == 2 else RESTRICTIONS
    restricted = [name for bit, name in known if not plan.encryption.permissions & bit]
    return PlanRefusal(refusal.code, f"{refusal.message} (this one restricts {', '.join(restricted)})")


cdef _encryption(const pdf_encryption *found):
    # Only processes that see encrypted documents load this.
    from batchseal._native.pdf_encryption import ENCRYPTION_METHODS, Encryption

    return Encryption(
        *(found.version, found.revision, found.key_bits, found.permissions, found.encrypts_metadata),
        ENCRYPTION_METHODS[<int> found.strings],
        ENCRYPTION_METHODS[<int> found.streams],
        _bytes(&found.owner),
        _bytes(&found.user),
        _bytes(&found.owner_key),
        _bytes(&found.user_key),
        _bytes(&found.confirmed_permissions),
        _bytes(&found.file_id),
    )


cdef _set_unlock(pdf_unlock *unlock, key):
    from batchseal._native.pdf_encryption import ENCRYPTION_METHODS, KEY_BYTES

    methods = (key.strings, key.streams)
    allowed = [KEY_BYTES[method] for method in methods]
    if not all(least <= len(key.key) <= most for least, most in allowed) or len(key.seed) != PDF_SEED_BYTES:
        raise ValueError("the file key or the seed has a wrong length")
    unlock.strings = <pdf_method> <int> ENCRYPTION_METHODS.index(key.strings)
    unlock.streams = <pdf_method> <int> ENCRYPTION_METHODS.index(key.streams)
    unlock.key_bytes = len(key.key)
    memcpy(unlock.key, <const char *> <bytes> key.key, len(key.key))
    memcpy(unlock.seed, <const char *> <bytes> key.seed, len(key.seed))


cdef PlannedSection _section(const pdf_long_term *section):
    return PlannedSection(
        _bytes(&section.objects),
        _bytes(&section.rows),
        _bytes(&section.lists[0]),
        _bytes(&section.lists[1]),
        _bytes(&section.lists[2]),
        _bytes(&section.others),
        section.dss,
        section.dss_generation,
        section.next_number,
        section.start,
        section.previous,
        section.trailer,
        section.range,
        section.is_stream,
        section.has_time_stamp,
        _bytes(&section.cipher),
    )


cdef PlanRefusal _field_refused(pdf_refusal refusal, const pdf_plan *plan):
    """Tells which fields the caller could have named."""
    refused = _refused(refusal)
    if not plan.open_count:
        return PlanRefusal(refused.code, f"{refused.message}; it has no signature field that can be signed")
    names = [name.decode("utf-8", "replace") for name in _bytes(&plan.open_fields).removesuffix(b"\0").split(b"\0")]
    more = f" and {plan.open_count - len(names)} more" if plan.open_count > len(names) else ""
    told = ", ".join([repr(name) for name in names])
    return PlanRefusal(refused.code, f"{refused.message}; its signature fields that can be signed: {told}{more}")


cdef _not_planned(pdf_refusal refusal, const pdf_plan *plan, uint32_t page):
    if refusal == PDF_REFUSE_ENCRYPTED:
        return _encryption(&plan.encryption)
    if refusal == PDF_REFUSE_FORBIDDEN:
        return _forbidden(plan)
    if refusal == PDF_REFUSE_OTHER_RULES:
        return OtherRules(<int> plan.rules)
    if refusal == PDF_REFUSE_OTHER_AREA:
        return OtherArea(plan.area_width, plan.area_height)
    if PDF_REFUSE_FIELD_MISSING <= refusal <= PDF_REFUSE_FIELD_TWICE:
        return _field_refused(refusal, plan)
    refused, detail = _refused(refusal), ""
    if refusal == PDF_REFUSE_NO_SUCH_PAGE:
        detail = f" (page {page} of {plan.pages})"
    elif refusal == PDF_REFUSE_OUTSIDE_PAGE:
        detail = f" (page {page} has {plan.page_width:g} x {plan.page_height:g} points)"
    return PlanRefusal(refused.code, refused.message + detail) if detail else refused


cdef PlannedUpdate _planned(const pdf_plan *plan, field, bint has_section):
    return PlannedUpdate(
        _bytes(&plan.head),
        plan.reserved_bytes,
        _bytes(&plan.tail),
        tuple([plan.byte_range[i] for i in range(4)]),
        f"Signature{plan.field_number}" if field is None else field,
        XREF_FORMS[<int> plan.form],
        plan.rebuilt,
        tuple([plan.inserted[i].offset for i in range(plan.inserted_count)]) if plan.inserted_count else (),
        _bytes(&plan.seed_values),
        _section(&plan.section) if has_section else None,
        plan.skipped_bytes,
    )


def plan(
    original,
    *,
    size_t contents_bytes,
    str reason=None,
    str location=None,
    str signer_name=None,
    str signing_time,
    file_key=None,
    bint section=False,
    bint time_stamp=False,
    str field=None,
    str digest_algorithm="sha256",
    Appearance appearance=None,
    uint32_t page=1,
    double x=0,
    double y=0,
    bint is_upper_left=False,
    bint yields=False,
    size_t max_file_bytes=4 << 30,
    size_t max_inflated_bytes=64 << 20,
    size_t max_memory_bytes=0,
    uint32_t max_objects=200_000,
    uint32_t max_depth=64,
    uint32_t max_xref_sections=1024,
):
    """Plans the update that adds a PAdES signature, or tells why there can be none.

    `original` is the whole file in any contiguous buffer. `contents_bytes` is the room for the CMS; its hex form takes twice
    as many bytes. `signing_time` is a PDF date ("D:20261121120000Z", ISO 32000-2 7.9.4) and becomes /M. With `section`, the
    section for validation material is planned too, with `time_stamp` also the document time stamp in it.

    `field` is the full name of a signature field that the document has and that is not
    signed (12.7.4.2). Without it the signature gets a new field, which is invisible.
    `digest_algorithm` is that of the signature; the lock of an existing field names it.
    With an `appearance` the signature is visible: on this `page`, from 1, and with its lower left
    corner at x and y, in points of 1/72 inch from that of the page as it is shown. With
    `is_upper_left` they are the area's upper left corner instead, in the user space of the page.
    In an existing field only its size counts: where the field has another one, the answer is
    OtherArea. With `yields` a field that has an appearance keeps it.
    If the document demands an appearance of another kind, the answer is OtherRules.

    Without `file_key` the answer for an encrypted document is its Encryption, from which the
    caller derives the key. With it, everything in the update that the document's method says is
    encrypted; the same seed gives the same update.

    A plan takes at most `memory_bound(len(original))` bytes of memory, or `max_memory_bytes`
    if that is given and less. The answer takes `update_bound(len(original))` bytes at most.
    """
    cdef pdf_plan_request request
    cdef pdf_appearance seen
    cdef pdf_plan result
    cdef pdf_unlock unlock
    cdef pdf_arena arena
    cdef pdf_refusal refusal
    cdef Py_buffer view
    cdef bytes reason_utf8 = _utf8(reason), location_utf8 = _utf8(location)
    cdef bytes name_utf8 = _utf8(signer_name), time_utf8 = _utf8(signing_time)
    cdef bytes field_utf8 = _utf8(field), digest_method = digest_algorithm.upper().encode("ascii")
    memset(&request, 0, sizeof(request))
    memset(&unlock, 0, sizeof(unlock))
    memset(&arena, 0, sizeof(arena))
    if file_key is not None:
        _set_unlock(&unlock, file_key)
        request.unlock = &unlock
    request.contents_bytes = contents_bytes
    _set_text(&request.reason, reason_utf8)
    _set_text(&request.location, location_utf8)
    _set_text(&request.name, name_utf8)
    _set_text(&request.time, time_utf8)
    request.has_section = section
    request.has_time_stamp = time_stamp
    _set_text(&request.field, field_utf8)
    request.digest_method = digest_method
    request.limits.file_bytes = max_file_bytes
    request.limits.inflate_bytes = max_inflated_bytes
    request.limits.memory_bytes = max_memory_bytes
    request.limits.objects = max_objects
    request.limits.depth = max_depth
    request.limits.sections = max_xref_sections
    if appearance is not None:
        memset(&seen, 0, sizeof(seen))
        seen.objects = appearance.objects_in_c
        seen.count, seen.rules = len(appearance.objects), appearance.rules
        seen.page, seen.x, seen.y, seen.is_upper_left = page, x, y, is_upper_left
        seen.width, seen.height, seen.yields = appearance.width, appearance.height, yields
        request.appearance = &seen
    PyObject_GetBuffer(original, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            refusal = pdf_plan_update(
                <const uint8_t *> view.buf, view.len, &request, &arena, &result)
        if refusal == PDF_OK:
            return _planned(&result, field, section)
        return _not_planned(refusal, &result, page)
    finally:
        pdf_arena_free(&arena)
        PyBuffer_Release(&view)


def update_bound(size_t original_bytes):
    """Returns how many bytes an update of an original of this size takes at most, with what is planned of a section
    behind it, and without the caller's texts.

    These and the appearance, as far as it is not shared, add four times their bytes at most.
    """
    return pdf_update_bound(original_bytes)


def memory_bound(size_t original_bytes):
    """Returns how many bytes of memory the plan of an original of this size takes at most."""
    return pdf_memory_bound(original_bytes)


def refusal_codes():
    """Returns every code that a PlanRefusal can have, with its message."""
    codes = [i for i in range(PDF_OK + 1, PDF_REFUSALS) if i != PDF_REFUSE_ENCRYPTED]
    refusals = [_refused(<pdf_refusal> <int> i) for i in codes]
    return {refusal.code: refusal.message for refusal in refusals}
