# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""Plans the incremental update that signs a PDF (ISO 32000-2 7.5.6, 12.8).

The original is only read, never copied, and the GIL is released meanwhile. A document
that cannot be signed gives a PlanRefusal with a code and a message for a person. Only a
mistake of the caller raises an exception. Digests, the CMS and joining the parts are left
to the callers.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport SIZE_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

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

cdef extern from "pdfscan/pdf_plan.h" nogil:
    ctypedef enum pdf_refusal:
        PDF_OK
        PDF_REFUSE_ENCRYPTED
        PDF_REFUSE_FORBIDDEN
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
    enum:
        PDF_MOST_KEY_BYTES
        PDF_SEED_BYTES
    ctypedef enum pdf_method:
        PDF_NOT_ENCRYPTED
        PDF_AES_256
    ctypedef struct pdf_encryption:
        int64_t version
        int64_t revision
        int64_t key_bits
        uint32_t permissions
        bint encrypts_metadata
        pdf_method strings
        pdf_method streams
        pdf_buffer owner
        pdf_buffer user
        pdf_buffer owner_key
        pdf_buffer user_key
        pdf_buffer confirmed_permissions
        pdf_buffer file_id
    ctypedef struct pdf_unlock:
        uint8_t key[32]
        size_t key_bytes
        pdf_method strings
        pdf_method streams
        uint8_t seed[16]
    ctypedef struct pdf_plan_request:
        size_t contents_bytes
        pdf_text reason
        pdf_text location
        pdf_text name
        pdf_text time
        pdf_limits limits
        const pdf_unlock *unlock
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
        pdf_encryption encryption
    size_t pdf_memory_bound(size_t n)
    size_t pdf_update_bound(size_t n)
    pdf_refusal pdf_plan_update(
        const uint8_t *file, size_t n, const pdf_plan_request *request,
        pdf_arena *arena, pdf_plan *plan)


# How strings or streams are encrypted; the place in the tuple is the value of pdf_method.
ENCRYPTION_METHODS = ("none", "RC4", "AES-128", "AES-256")
KEY_BYTES = {"none": (0, 32), "RC4": (5, 16), "AES-128": (16, 16), "AES-256": (32, 32)}
XREF_FORMS = ("table", "stream", "hybrid")
# The bits of /P that people know by name (ISO 32000-2 7.6.4.2, table 22; its bits count from 1).
RESTRICTIONS = (
    *((1 << 2, "printing"), (1 << 3, "editing"), (1 << 4, "copying"), (1 << 5, "comments and form entries")),
    (1 << 10, "inserting and turning pages"),
)


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlannedUpdate:
    """An update. The signed file is original + head + b"<" + hex + b">" + tail.

    `reserved_bytes` is the length of b"<" + hex + b">". `byte_range` holds the four
    numbers of /ByteRange. `xref_form` is one of XREF_FORMS. `rebuilt` is true if the xref
    of the original was unusable; the update then lists all objects and has no /Prev.
    """

    head: bytes
    reserved_bytes: int
    tail: bytes
    byte_range: tuple
    field_name: str
    xref_form: str
    rebuilt: bool


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class PlanRefusal:
    """Why a document cannot be signed: a code that never changes, and a message for a person."""

    code: str
    message: str


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class Encryption:
    """What an encrypted document says of itself: what its file key is derived from (ISO 32000-2 7.6.4).

    `version`, `revision` and `key_bits` are /V, /R and /Length, `permissions` is /P as 32 bits. `strings` and `streams` are of
    ENCRYPTION_METHODS. The entries /O, /U, /OE, /UE and /Perms, and the first element of /ID, are empty where they are absent.
    """

    version: int
    revision: int
    key_bits: int
    permissions: int
    encrypts_metadata: bool
    strings: str
    streams: str
    owner: bytes
    user: bytes
    owner_key: bytes
    user_key: bytes
    confirmed_permissions: bytes
    file_id: bytes


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class FileKey:
    """The key of an encrypted document, with the methods of its Encryption.

    It has 5 to 16 bytes, 16 with AES-128, 32 with AES-256. All initialization vectors follow from the 16 bytes of `seed`, so
    these must be random and used for one document only.
    """

    key: bytes
    strings: str
    streams: str
    seed: bytes


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
    return PlanRefusal(
        pdf_refusal_code(refusal).decode(), pdf_refusal_message(refusal).decode()
    )


cdef PlanRefusal _forbidden(const pdf_plan *plan):
    """Tells what the document restricts, since its owner may think of something else."""
    refusal = _refused(PDF_REFUSE_FORBIDDEN)
    # Revision 2 has bits 3 to 6 alone.
    known = RESTRICTIONS[:4] if plan.encryption.revision == 2 else RESTRICTIONS
    restricted = [name for bit, name in known if not plan.encryption.permissions & bit]
    return PlanRefusal(refusal.code, f"{refusal.message} (this one restricts {', '.join(restricted)})")


cdef Encryption _encryption(const pdf_encryption *found):
    return Encryption(
        found.version,
        found.revision,
        found.key_bits,
        found.permissions,
        found.encrypts_metadata,
        ENCRYPTION_METHODS[<int> found.strings],
        ENCRYPTION_METHODS[<int> found.streams],
        _bytes(&found.owner),
        _bytes(&found.user),
        _bytes(&found.owner_key),
        _bytes(&found.user_key),
        _bytes(&found.confirmed_permissions),
        _bytes(&found.file_id),
    )


cdef _set_unlock(pdf_unlock *unlock, FileKey key):
    methods = (key.strings, key.streams)
    allowed = [KEY_BYTES[method] for method in methods]
    if not all(least <= len(key.key) <= most for least, most in allowed) or len(key.seed) != PDF_SEED_BYTES:
        raise ValueError("the file key or the seed has a wrong length")
    unlock.strings = <pdf_method> <int> ENCRYPTION_METHODS.index(key.strings)
    unlock.streams = <pdf_method> <int> ENCRYPTION_METHODS.index(key.streams)
    unlock.key_bytes = len(key.key)
    memcpy(unlock.key, <const char *> <bytes> key.key, len(key.key))
    memcpy(unlock.seed, <const char *> <bytes> key.seed, len(key.seed))


cdef PlannedUpdate _planned(const pdf_plan *plan):
    return PlannedUpdate(
        _bytes(&plan.head),
        plan.reserved_bytes,
        _bytes(&plan.tail),
        tuple([plan.byte_range[i] for i in range(4)]),
        f"Signature{plan.field_number}",
        XREF_FORMS[<int> plan.form],
        plan.rebuilt,
    )


def plan(
    original,
    *,
    size_t contents_bytes,
    str reason=None,
    str location=None,
    str signer_name=None,
    str signing_time,
    FileKey file_key=None,
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
    ("D:20261121120000Z", ISO 32000-2 7.9.4) and becomes /M.

    Without `file_key` the answer for an encrypted document is its Encryption, from which the
    caller derives the key. With it, everything in the update that the document's method says is
    encrypted; the same seed gives the same update.

    A plan takes at most `memory_bound(len(original))` bytes of memory, or `max_memory_bytes`
    if that is given and less. The answer takes `update_bound(len(original))` bytes at most.
    """
    cdef pdf_plan_request request
    cdef pdf_plan result
    cdef pdf_unlock unlock
    cdef pdf_arena arena
    cdef pdf_refusal refusal
    cdef Py_buffer view
    cdef bytes reason_utf8 = _utf8(reason), location_utf8 = _utf8(location)
    cdef bytes name_utf8 = _utf8(signer_name), time_utf8 = _utf8(signing_time)
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
            return _planned(&result)
        if refusal == PDF_REFUSE_ENCRYPTED:
            return _encryption(&result.encryption)
        return _forbidden(&result) if refusal == PDF_REFUSE_FORBIDDEN else _refused(refusal)
    finally:
        pdf_arena_free(&arena)
        PyBuffer_Release(&view)


def update_bound(size_t original_bytes):
    """Returns how many bytes an update of an original of this size takes at most, without the caller's texts."""
    return pdf_update_bound(original_bytes)


def memory_bound(size_t original_bytes):
    """Returns how many bytes of memory the plan of an original of this size takes at most."""
    return pdf_memory_bound(original_bytes)


def refusal_codes():
    """Returns every code that a PlanRefusal can have, with its message."""
    codes = [i for i in range(PDF_OK + 1, PDF_REFUSALS) if i != PDF_REFUSE_ENCRYPTED]
    refusals = [_refused(<pdf_refusal> <int> i) for i in codes]
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
