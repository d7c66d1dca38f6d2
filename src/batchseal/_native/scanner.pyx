# cython: auto_pickle=False, autotestdict=False
"""Scans the JSON body of a SignRequest while it arrives, and decodes the documents in it.

Owns the life of decoded documents and the words of a refusal; the work is in ext/jsonscan and ext/base64, without the
GIL. Promises the same outcome for the same bytes, however they are cut and whichever kernel runs. Leaves to others:
which attributes a request must have, and exceptions: a refusal is data (`RequestScanner.failure`).
"""

import os
from dataclasses import dataclass

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

from batchseal._native.cpu cimport cpu_isa_find

from batchseal._native.cpu import choose_instruction_set, instruction_sets


# A shorter piece is scanned faster than the GIL goes and comes back under contention.
cdef Py_ssize_t NOGIL_FROM_BYTES = 4096

cdef str active_name = choose_instruction_set()
cdef uint8_t NO_BYTES = 0  # what an empty document's memory is said to be


def use_kernels(name: str | None = None) -> str:
    """Scanners made from now on run this instruction set's kernels, None for the best; returns its name.

    Raises ValueError for an instruction set that is unknown or that this processor lacks.
    """
    global active_name
    active_name = choose_instruction_set(name)
    return active_name


def kernels() -> list[tuple[str, str, bool, bool]]:
    """Instruction sets, best first: name, kernel, does this processor have it, is it in use."""
    cdef const jsonscan_kernel *kernel
    found = []
    for name, supported in instruction_sets():
        kernel = jsonscan_kernel_for(cpu_isa_find(name.encode()))
        found.append((name, jsonscan_kernel_name(kernel).decode(), supported, name == active_name))
    return found


def live_buffers() -> int:
    """Document buffers that are in use: none, once every document and scanner is gone."""
    return docbuffer_live()


def cached_buffer_bytes() -> int:
    """Memory that waits to be used again."""
    return docbuffer_cached_bytes()


def set_buffer_cache(limit_bytes: int | None = None) -> int:
    """Bounds what may wait to be used again (32 MiB at first), and gives back what is over; returns the bound."""
    if limit_bytes is not None:
        docbuffer_set_cache(limit_bytes)
    return docbuffer_cache_limit()


@cython.final
cdef class DocumentBuffer:
    """The bytes of a document, read through the buffer protocol. Its memory is used again when it goes."""

    def __dealloc__(self):
        docbuffer_free(self.buffer)

    def __len__(self) -> int:
        return self.buffer.used if self.buffer != NULL else 0

    @property
    def capacity(self) -> int:
        """Bytes of memory it holds."""
        return self.buffer.capacity if self.buffer != NULL else 0

    def append(self, data) -> None:
        """Adds bytes, for documents that come without JSON around them. Raises BufferError while it is read."""
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
        """Gives the memory back; the document is empty then. Raises BufferError while something still reads it."""
        if self.exports:
            raise BufferError("a document cannot be released while it is read")
        docbuffer_free(self.buffer)
        self.buffer = NULL

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(view, self, self.buffer.data if self.buffer != NULL else &NO_BYTES, len(self), 1, flags)
        self.exports += 1

    def __buffer__(self, flags: int, /) -> memoryview:  # what Python 3.12 adds by itself
        return memoryview(self)

    def __releasebuffer__(self, Py_buffer *view):
        self.exports -= 1


@dataclass(frozen=True)
class ScannedDocument:
    """A document: its place, the JSON text of its attributes (`true` stands for `base64Content`), its bytes."""

    ordinal: int
    skeleton: bytes
    content: DocumentBuffer | None


@dataclass(frozen=True)
class ScanFailure:
    """Why a body was refused. `kind` is one of syntax, duplicate_key, wrong_type, base64, truncated, depth,
    limit_documents, limit_document_bytes, limit_text, utf8; `place` a path such as documents[3].documentRequest, "" for
    the top; `offset` in bytes from the start of the body; `ordinal` the document's, None outside of one. The message is
    for a person and holds nothing of the body but names of keys, clipped.
    """

    kind: str
    place: str
    offset: int
    ordinal: int | None
    message: str


@cython.final
cdef class RequestScanner:
    """Scans one body, given in pieces of any length. Limits are inclusive; bytes of a document count decoded."""

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
        """Scans the next piece; returns the documents that end in it, also those in front of a failure (`failure`).

        After a failure further pieces are ignored. Raises ValueError after close(), RuntimeError if two threads feed.
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

    def finish(self) -> bytes | None:
        """The request, with the number of documents for `documents`; None if the body was refused or cut."""
        self.check_usable()
        if not jsonscan_finish(self.scanner):
            self.note_failure()
            return None
        return self.request_so_far

    def close(self) -> None:
        """Frees what the scanner holds; documents it has returned stay."""
        if self.scanner != NULL:
            self.check_usable()
            jsonscan_free(self.scanner)
            self.scanner = NULL

    @property
    def documents_seen(self) -> int:
        """Documents begun."""
        return jsonscan_documents_seen(self.scanner) if self.scanner != NULL else 0

    @property
    def bytes_seen(self) -> int:
        """Bytes of the body that were fed."""
        return jsonscan_bytes_seen(self.scanner) if self.scanner != NULL else 0

    @property
    def request_so_far(self) -> bytes:
        """The request's skeleton as far as it was read. It ends with `"documents":` while the documents arrive."""
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
        cdef DocumentBuffer content
        cdef list taken = []
        for i in range(n):
            content = None
            if documents[i].content != NULL:
                content = DocumentBuffer()
                content.buffer = documents[i].content
                documents[i].content = NULL
            start, end = documents[i].text_start, documents[i].text_start + documents[i].text_bytes
            taken.append(ScannedDocument(documents[i].ordinal, text[start:end], content))
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
