# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""The planner's own zlib decoder, for tests that compare it with others."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport SIZE_MAX, uint8_t
from libc.string cimport memset

from batchseal._native.planner cimport pdf_arena, pdf_arena_free, pdf_buffer


cdef extern from "pdfscan/pdf_inflate.h" nogil:
    ctypedef enum pdf_inflate_status:
        PDF_INFLATE_DONE
        PDF_INFLATE_CUT
        PDF_INFLATE_LIMIT
        PDF_INFLATE_MEMORY
        PDF_INFLATE_WORK
    pdf_inflate_status pdf_inflate_zlib(
        const uint8_t *data, size_t n, size_t limit, size_t *work, pdf_buffer *out)


def inflate(data, size_t limit):
    """Returns what can be decoded before the data ends or becomes invalid. Raises
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
        return PyBytes_FromStringAndSize(<const char *> out.bytes, out.length) if out.length else b""
    finally:
        pdf_arena_free(&arena)
        PyBuffer_Release(&view)
