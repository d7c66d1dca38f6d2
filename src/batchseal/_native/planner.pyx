# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""Plans the incremental update that signs a PDF (ISO 32000-2 7.5.6, 12.8).

The original is only read, never copied, and the GIL is released meanwhile. A document
that cannot be signed gives a PlanRefusal with a code and a message for a person. Only a
mistake of the caller raises an exception. Digests, the CMS and joining the parts are left
to the callers.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport SIZE_MAX, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

cimport cython


cdef extern from "pdfscan/pdf_arena.h" nogil:
    ctypedef struct pdf_arena:
        pass
    ctypedef struct pdf_buffer:
        pdf_arena *arena
        uint8_t *bytes
        size_t length
    void pdf_arena_free(pdf_arena *arena)

cdef extern from "pdfscan/pdf_inflate.h" nogil:
    ctypedef enum pdf_inflate_status:
        PDF_INFLATE_DONE
        PDF_INFLATE_CUT
        PDF_INFLATE_LIMIT
        PDF_INFLATE_MEMORY
        PDF_INFLATE_WORK
    pdf_inflate_status pdf_inflate_zlib(
        const uint8_t *data, size_t n, size_t limit, size_t *work, pdf_buffer *out)

cdef extern from "pdfscan/pdf_section.h" nogil:
    ctypedef struct pdf_long_term:
        pdf_buffer objects
        pdf_buffer rows
        pdf_buffer lists[3]
        pdf_buffer others
        uint32_t dss
        uint32_t dss_generation
        uint64_t next_number
        uint64_t start
        uint64_t previous
        uint64_t trailer
        uint64_t range
        bint is_stream
        bint has_time_stamp

cdef extern from "pdfscan/pdf_plan.h" nogil:
    ctypedef enum pdf_refusal:
        PDF_OK
        PDF_REFUSE_ENCRYPTED
        PDF_REFUSALS
    const char *pdf_refusal_code(pdf_refusal refusal)
    const char *pdf_refusal_message(pdf_refusal refusal)
    ctypedef struct pdf_text:
        const uint8_t *utf8
        size_t bytes
    ctypedef struct pdf_limits:
        size_t file_bytes
        size_t inflate_bytes
        size_t memory_bytes
        uint32_t objects
        uint32_t depth
        uint32_t sections
    ctypedef struct pdf_plan_request:
        size_t contents_bytes
        pdf_text reason
        pdf_text location
        pdf_text name
        pdf_text time
        bint has_section
        bint has_time_stamp
        pdf_limits limits
    ctypedef enum pdf_xref_form:
        PDF_XREF_TABLE
        PDF_XREF_STREAM
        PDF_XREF_HYBRID
    ctypedef struct pdf_plan:
        pdf_buffer head
        pdf_buffer tail
        uint64_t byte_range[4]
        uint64_t reserved_bytes
        uint32_t field_number
        pdf_xref_form form
        bint rebuilt
        bint is_restricted
        uint32_t permissions
        pdf_long_term section
    size_t pdf_memory_bound(size_t n)
    size_t pdf_update_bound(size_t n)
    pdf_refusal pdf_plan_update(
        const uint8_t *file, size_t n, const pdf_plan_request *request,
        pdf_arena *arena, pdf_plan *plan)


XREF_FORMS = ("table", "stream", "hybrid")
# The bits of /P that people know by name (ISO 32000-2 7.6.4.2, table 22; its bits count from 1).
RESTRICTIONS = (
    *((1 << 2, "printing"), (1 << 3, "editing"), (1 << 4, "copying"), (1 << 5, "comments and form entries")),
    (1 << 10, "inserting and turning pages"),
)


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlannedSection:
    """The section behind an update, as far as it is known before its material. It can be kept: `section` writes it.

    `objects` are whole objects, and with a time stamp the beginning of its dictionary; `rows` says where each is.
    `certificates`, `ocsp_responses` and `crls` are references that an existing DSS dictionary holds, `others` are its other
    entries. `dss` and `dss_generation` name the object that becomes the DSS dictionary, `next_number` is the next free
    number. `start` and `previous` are offsets in the signed file: of this section, and of the xref section before it.
    `trailer` is an offset in the tail of the update, `range_at` one in `objects`.
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


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlannedUpdate:
    """An update. The signed file is original + head + b"<" + hex + b">" + tail, and the section behind it.

    `reserved_bytes` is the length of b"<" + hex + b">". `byte_range` holds the four
    numbers of /ByteRange. `xref_form` is one of XREF_FORMS. `rebuilt` is true if the xref
    of the original was unusable; the update then lists all objects and has no /Prev.
    `section` is a PlannedSection, or None if none was asked for.
    """

    head: bytes
    reserved_bytes: int
    tail: bytes
    byte_range: tuple
    field_name: str
    xref_form: str
    rebuilt: bool
    section: object = None


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlanRefusal:
    """Why a document cannot be signed: a code that never changes, and a message for a person."""

    code: str
    message: str


cdef bytes _utf8(text):
    # Half of a surrogate pair has no UTF-8 form and becomes a question mark.
    return None if text is None else (<str> text).encode("utf-8", "replace")


cdef void _set_text(pdf_text *text, bytes encoded):
    if encoded is not None:
        text.utf8 = encoded
        text.bytes = len(encoded)


cdef bytes _bytes(const pdf_buffer *buffer):
    return PyBytes_FromStringAndSize(<const char *> buffer.bytes, buffer.length)


cdef PlanRefusal _refused(pdf_refusal refusal):
    return PlanRefusal(
        pdf_refusal_code(refusal).decode(), pdf_refusal_message(refusal).decode()
    )


cdef PlanRefusal _encrypted(const pdf_plan *plan):
    """Tells what the document restricts, since its owner may not think of it as encrypted."""
    refusal = _refused(PDF_REFUSE_ENCRYPTED)
    restricted = [name for bit, name in RESTRICTIONS if not plan.permissions & bit]
    if not plan.is_restricted or not restricted:
        return refusal
    return PlanRefusal(refusal.code, f"{refusal.message} (this one restricts {', '.join(restricted)})")


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
    )


cdef PlannedUpdate _planned(const pdf_plan *plan, bint has_section):
    return PlannedUpdate(
        _bytes(&plan.head),
        plan.reserved_bytes,
        _bytes(&plan.tail),
        tuple([plan.byte_range[i] for i in range(4)]),
        f"Signature{plan.field_number}",
        XREF_FORMS[<int> plan.form],
        plan.rebuilt,
        _section(&plan.section) if has_section else None,
    )


def plan(
    original,
    *,
    size_t contents_bytes,
    str reason=None,
    str location=None,
    str signer_name=None,
    str signing_time,
    bint section=False,
    bint time_stamp=False,
    size_t max_file_bytes=4 << 30,
    size_t max_inflated_bytes=64 << 20,
    size_t max_memory_bytes=0,
    uint32_t max_objects=200_000,
    uint32_t max_depth=64,
    uint32_t max_xref_sections=1024,
):
    """Plans the update that adds an invisible PAdES signature, or tells why there can be none.

    `original` is the whole file in any contiguous buffer. `contents_bytes` is the room
    for the CMS; its hex form takes twice as many bytes. `signing_time` is a PDF date
    ("D:20261121120000Z", ISO 32000-2 7.9.4) and becomes /M. With `section`, the section for validation
    material is planned too, with `time_stamp` also the document time stamp in it.

    A plan takes at most `memory_bound(len(original))` bytes of memory, or `max_memory_bytes`
    if that is given and less. The answer takes `update_bound(len(original))` bytes at most.
    """
    cdef pdf_plan_request request
    cdef pdf_plan result
    cdef pdf_arena arena
    cdef pdf_refusal refusal
    cdef Py_buffer view
    cdef bytes reason_utf8 = _utf8(reason), location_utf8 = _utf8(location)
    cdef bytes name_utf8 = _utf8(signer_name), time_utf8 = _utf8(signing_time)
    memset(&request, 0, sizeof(request))
    memset(&arena, 0, sizeof(arena))
    request.contents_bytes = contents_bytes
    _set_text(&request.reason, reason_utf8)
    _set_text(&request.location, location_utf8)
    _set_text(&request.name, name_utf8)
    _set_text(&request.time, time_utf8)
    request.has_section = section
    request.has_time_stamp = time_stamp
    request.limits.file_bytes = max_file_bytes
    request.limits.inflate_bytes = max_inflated_bytes
    request.limits.memory_bytes = max_memory_bytes
    request.limits.objects = max_objects
    request.limits.depth = max_depth
    request.limits.sections = max_xref_sections
    PyObject_GetBuffer(original, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            refusal = pdf_plan_update(
                <const uint8_t *> view.buf, view.len, &request, &arena, &result)
        if refusal == PDF_OK:
            return _planned(&result, section)
        return _encrypted(&result) if refusal == PDF_REFUSE_ENCRYPTED else _refused(refusal)
    finally:
        pdf_arena_free(&arena)
        PyBuffer_Release(&view)


def update_bound(size_t original_bytes):
    """Returns how many bytes an update of an original of this size takes at most, with what is planned of a section
    behind it, and without the caller's texts."""
    return pdf_update_bound(original_bytes)


def memory_bound(size_t original_bytes):
    """Returns how many bytes of memory the plan of an original of this size takes at most."""
    return pdf_memory_bound(original_bytes)


def refusal_codes():
    """Returns every code that a PlanRefusal can have, with its message."""
    refusals = [_refused(<pdf_refusal> i) for i in range(PDF_OK + 1, PDF_REFUSALS)]
    return {refusal.code: refusal.message for refusal in refusals}


def inflate(data, size_t limit):
    """Decodes zlib data with the planner's own decoder, so that tests can compare it with others.

    Returns what can be decoded before the data ends or becomes invalid. Raises
    MemoryError if that is more than `limit` bytes.
    """
    cdef pdf_arena arena
    cdef pdf_buffer out
    cdef pdf_inflate_status status
    cdef size_t work = SIZE_MAX
    cdef Py_buffer view
    memset(&arena, 0, sizeof(arena))
    memset(&out, 0, sizeof(out))
    out.arena = &arena
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        with nogil:
            status = pdf_inflate_zlib(
                <const uint8_t *> view.buf, view.len, limit, &work, &out)
        if status == PDF_INFLATE_LIMIT or status == PDF_INFLATE_MEMORY:
            raise MemoryError(f"more than {limit} bytes")
        return _bytes(&out)
    finally:
        pdf_arena_free(&arena)
        PyBuffer_Release(&view)
