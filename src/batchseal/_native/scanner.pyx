# cython: auto_pickle=False, autotestdict=False
"""Scans the JSON body of a SignRequest while it arrives, and decodes the documents in it.

This module owns the memory of decoded documents. ext/jsonscan and ext/base64 do the work, without the GIL. The result
depends only on the bytes, not on how they are cut into pieces or which kernel runs. A refused body raises no exception:
the reason is in `RequestScanner.failure`. Callers check which attributes a request must have.
"""

import os
from dataclasses import dataclass

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from batchseal._native.cpu cimport cpu_isa_find

from batchseal._native.cpu import choose_instruction_set, instruction_sets


# Scanning a shorter piece takes less time than releasing the GIL and getting it back while other threads want it.
cdef Py_ssize_t NOGIL_FROM_BYTES = 4096

cdef str active_name = choose_instruction_set()
cdef uint8_t NO_BYTES = 0  # an empty document says that its memory is here


def use_kernels(name: str | None = None) -> str:
    """Selects the instruction set whose kernels new scanners use (None: the best one), and returns its name.

    Raises ValueError if the instruction set is unknown or this processor does not support it.
    """
    global active_name
    active_name = choose_instruction_set(name)
    return active_name


def kernels() -> list[tuple[str, str, bool, bool]]:
    """For each instruction set, best first: name, kernel, whether this processor supports it, whether it is in use."""
    cdef const jsonscan_kernel *kernel
    found = []
    for name, supported in instruction_sets():
        kernel = jsonscan_kernel_for(cpu_isa_find(name.encode()))
        found.append((name, jsonscan_kernel_name(kernel).decode(), supported, name == active_name))
    return found


def live_buffers() -> int:
    """Returns the number of document buffers in use. It is 0 when every document and scanner has been freed."""
    return docbuffer_live()


def cached_buffer_bytes() -> int:
    """Returns the number of bytes that freed document buffers hold in the cache."""
    return docbuffer_cached_bytes()


def set_buffer_cache(limit_bytes: int | None = None) -> int:
    """Bounds the memory that freed document buffers may hold (at first 32 MiB; None: no change). Returns the bound."""
    if limit_bytes is not None:
        docbuffer_set_cache(limit_bytes)
    return docbuffer_cache_limit()


@cython.final
cdef class DocumentBuffer:
    """The bytes of a document, read through the buffer protocol. When it is freed, its memory goes to the cache."""

    def __dealloc__(self):
        docbuffer_free(self.buffer)

    def __len__(self) -> int:
        return self.buffer.used if self.buffer != NULL else 0

    @property
    def capacity(self) -> int:
        """How many bytes of memory it holds."""
        return self.buffer.capacity if self.buffer != NULL else 0

    def append(self, data) -> None:
        """Adds bytes to a document that arrives without JSON around it. Raises BufferError while something reads it."""
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if self.exports:
                raise BufferError("a document cannot grow while it is read")
            if self.buffer == NULL:
                self.buffer = docbuffer_new(view.len)
            if self.buffer == NULL or not docbuffer_grow(self.buffer, self.buffer.used + view.len):
                raise MemoryError("no memory for the document")
            memcpy(self.buffer.data + self.buffer.used, view.buf, view.len)
            self.buffer.used += view.len
        finally:
            PyBuffer_Release(&view)

    def release(self) -> None:
        """Gives the memory back; the document is then empty. Raises BufferError while something reads it."""
        if self.exports:
            raise BufferError("a document cannot be released while it is read")
        docbuffer_free(self.buffer)
        self.buffer = NULL

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.buffer.data if self.buffer != NULL else &NO_BYTES, len(self), 1, flags)
        self.exports += 1

    def __buffer__(self, flags: int, /) -> memoryview:  # Python 3.12 adds this method by itself
        return memoryview(self)

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1


@cython.final
cdef class ScannedDocument:
    """One document. `skeleton` is the JSON text of its attributes, where `true` replaces the value of `base64Content`.

    `ordinal` counts from 0. `content` is the `DocumentBuffer`, or None. Only a scanner makes objects of this class.
    """

    cdef readonly uint64_t ordinal
    cdef readonly bytes skeleton
    cdef readonly DocumentBuffer content


@dataclass(frozen=True)
class ScanFailure:
    """Why a body was refused.

    `kind` is one of syntax, duplicate_key, wrong_type, base64, truncated, depth, limit_documents, limit_document_bytes,
    limit_text, utf8. `place` is a path such as documents[3].documentRequest, or "" for the top level. `offset` counts bytes
    from the start of the body. `ordinal` is the number of the document from 0, or None if the failure is not in a document.
    `message` is for a person; from the body it quotes only keys, shortened.
    """

    kind: str
    place: str
    offset: int
    ordinal: int | None
    message: str


@cython.final
cdef class RequestScanner:
    """Scans one body, in pieces of any length. Limits are inclusive, and max_document_bytes counts decoded bytes."""

    def __init__(
        self, max_depth: int = 16, max_documents: int = 10_000, max_document_bytes: int = 100 << 20,
        max_skeleton_bytes: int = 4 << 20,
    ) -> None:
        cdef bytes seed = os.urandom(16)
        cdef bytes isa = active_name.encode()
        if not (1 <= max_depth <= 1000 and 0 <= max_documents < 1 << 32 and 0 <= max_document_bytes < 1 << 40):
            raise ValueError("a limit of the scanner is out of its range")
        if not 2 <= max_skeleton_bytes <= 256 << 20:
            raise ValueError("max_skeleton_bytes must be from 2 to 268435456")
        cdef jsonscan_limits limits = jsonscan_limits(max_depth, max_documents, max_document_bytes, max_skeleton_bytes)
        jsonscan_free(self.scanner)
        self.failure = None
        self.scanner = jsonscan_new(&limits, cpu_isa_find(isa), <const uint64_t *> <const char *> seed)
        if self.scanner == NULL:
            raise MemoryError("no memory for a scanner")

    def __dealloc__(self):
        jsonscan_free(self.scanner)

    def feed(self, chunk) -> list[ScannedDocument]:
        """Scans the next piece and returns the documents that end in it, including those before a failure.

        After a failure it ignores further pieces. Raises ValueError after close(), RuntimeError if another thread feeds.
        """
        cdef Py_buffer view
        cdef bint scanned
        self.check_usable()
        PyObject_GetBuffer(chunk, &view, PyBUF_SIMPLE)
        self.busy = True
        if view.len >= NOGIL_FROM_BYTES:
            with nogil:
                scanned = jsonscan_feed(self.scanner, <const uint8_t *> view.buf, view.len)
        else:
            scanned = jsonscan_feed(self.scanner, <const uint8_t *> view.buf, view.len)
        self.busy = False
        PyBuffer_Release(&view)
        if not scanned:
            self.note_failure()
        return self.take_documents()

    def take_content(self, least_bytes: int) -> DocumentBuffer | None:
        """Takes what was decoded so far of the document that is arriving, if that has at least so many bytes; else None.

        Its `ScannedDocument` will have only what comes after it, which may be nothing. Its limit counts all of it.
        """
        cdef DocumentBuffer content
        cdef docbuffer *taken
        self.check_usable()
        taken = jsonscan_take_content(self.scanner, max(1, least_bytes))
        if taken == NULL:
            return None
        content = DocumentBuffer()
        content.buffer = taken
        return content

    def finish(self) -> bytes | None:
        """Returns the request, with the number of documents as `documents`. None if the body was refused or is cut."""
        self.check_usable()
        if not jsonscan_finish(self.scanner):
            self.note_failure()
            return None
        return self.request_so_far

    def close(self) -> None:
        """Frees what the scanner holds. The documents that it has returned stay valid."""
        if self.scanner != NULL:
            self.check_usable()
            jsonscan_free(self.scanner)
            self.scanner = NULL

    @property
    def documents_seen(self) -> int:
        """How many documents have begun."""
        return jsonscan_documents_seen(self.scanner) if self.scanner != NULL else 0

    @property
    def bytes_seen(self) -> int:
        """How many bytes of the body were fed."""
        return jsonscan_bytes_seen(self.scanner) if self.scanner != NULL else 0

    @property
    def request_so_far(self) -> bytes:
        """The request without its documents, as far as it was read. It ends with `"documents":` while the documents arrive."""
        cdef size_t n = 0
        self.check_usable()
        cdef const uint8_t *text = jsonscan_request(self.scanner, &n)
        return text[:n] if n else b""

    cdef int check_usable(self) except -1:
        if self.scanner == NULL:
            raise ValueError("the scanner is closed")
        if self.busy:
            raise RuntimeError("a scanner is fed by one thread at a time")
        return 0

    cdef list take_documents(self):
        cdef size_t n = 0, i
        cdef jsonscan_document *documents = jsonscan_documents(self.scanner, &n)
        cdef const uint8_t *text = jsonscan_text(self.scanner)
        cdef ScannedDocument document
        cdef list taken = []
        for i in range(n):
            document = ScannedDocument.__new__(ScannedDocument)
            document.ordinal = documents[i].ordinal
            document.skeleton = PyBytes_FromStringAndSize(
                <const char *> text + documents[i].text_start, documents[i].text_bytes
            )
            if documents[i].content != NULL:
                document.content = DocumentBuffer.__new__(DocumentBuffer)
                document.content.buffer = documents[i].content
                documents[i].content = NULL
            taken.append(document)
        jsonscan_clear(self.scanner)
        return taken

    cdef int note_failure(self) except -1:
        cdef const jsonscan_failure *f = jsonscan_get_failure(self.scanner)
        if self.failure is not None:
            return 0
        message = f.message.decode()
        if f.kind == JSONSCAN_MEMORY:
            raise MemoryError(message)
        ordinal = f.ordinal if f.ordinal >= 0 else None
        self.failure = ScanFailure(jsonscan_kind_name(f.kind).decode(), f.place.decode(), f.offset, ordinal, message)
        return 0
