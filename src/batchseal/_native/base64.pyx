# cython: auto_pickle=False, autotestdict=False
"""Encodes and decodes strict base64 (RFC 4648 section 4). The input may come in segments, which are never joined.

This module holds the buffers while C code uses them, and selects the kernel. ext/base64 does the work, without the GIL.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t

from batchseal._native.cpu cimport cpu_isa, cpu_isa_find

from batchseal._native.cpu import choose_instruction_set, instruction_sets


cdef extern from "base64/base64.h" nogil:
    const size_t BASE64_DECODE_SLACK
    ctypedef struct base64_kernel:
        const char *name
    ctypedef enum base64_status:
        BASE64_OK
    ctypedef struct base64_decoder:
        uint8_t sextets
    ctypedef struct base64_encoder:
        uint8_t carried
    const base64_kernel *base64_kernel_for(const cpu_isa *isa)
    const char *base64_status_text(base64_status status)
    base64_status base64_decode_text(base64_decoder *d, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                     uint8_t *dst, size_t *taken, size_t *written)
    base64_status base64_decode_end(const base64_decoder *d)
    size_t base64_encode_size(const base64_encoder *e, size_t n)
    size_t base64_encode_update(base64_encoder *e, const base64_kernel *kernel, const uint8_t *src, size_t n,
                                uint8_t *dst)
    size_t base64_encode_finish(base64_encoder *e, uint8_t *dst)


cdef const base64_kernel *active
cdef str active_name


def use_kernels(name: str | None = None) -> str:
    """Selects the instruction set whose kernel is used from now on (None: the best one), and returns its name.

    Raises ValueError if the instruction set is unknown or this processor does not support it.
    """
    global active, active_name
    active_name = choose_instruction_set(name)
    active = base64_kernel_for(cpu_isa_find(active_name.encode()))
    return active_name


def kernels() -> list[tuple[str, str, bool, bool]]:
    """For each instruction set, best first: name, kernel, whether this processor supports it, whether it is in use."""
    return [
        (name, base64_kernel_for(cpu_isa_find(name.encode())).name.decode(), supported, name == active_name)
        for name, supported in instruction_sets()
    ]


use_kernels()


def encoded_length(n: int) -> int:
    """How many characters n bytes become, including the padding."""
    return (n + 2) // 3 * 4


@cython.final
cdef class Base64Encoder:
    """Encodes a stream that comes in segments of any length. Only one thread at a time may use an encoder."""

    cdef base64_encoder state
    cdef bint busy

    cdef int begin(self) except -1:
        if self.busy:
            raise RuntimeError("an encoder is used by one thread at a time")
        self.busy = True
        return 0

    def update(self, data) -> bytes:
        """Returns the characters that are complete after these bytes. Up to two bytes wait for the next segment."""
        cdef Py_buffer view
        cdef uint8_t *out
        cdef bytes encoded
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            self.begin()
            encoded = PyBytes_FromStringAndSize(NULL, base64_encode_size(&self.state, view.len))
            out = <uint8_t *> PyBytes_AS_STRING(encoded)
            with nogil:
                base64_encode_update(&self.state, active, <const uint8_t *> view.buf, view.len, out)
            self.busy = False
        finally:
            PyBuffer_Release(&view)
        return encoded

    def encode_into(self, data, out, offset: int = 0) -> int:
        """Does what update() does, but writes into a buffer from `offset` on. Returns the number of characters.

        Raises ValueError if they don't fit; the encoder is then unchanged. Room for encoded_length(len(data) + 2)
        characters is always enough.
        """
        cdef Py_buffer view, target
        cdef Py_ssize_t at = offset
        cdef size_t written
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            PyObject_GetBuffer(out, &target, PyBUF_SIMPLE | PyBUF_WRITABLE)
            try:
                written = base64_encode_size(&self.state, view.len)
                if at < 0 or at > target.len or written > <size_t> (target.len - at):
                    raise ValueError(f"{written} characters don't fit at {at} of {target.len}")
                self.begin()
                with nogil:
                    base64_encode_update(&self.state, active, <const uint8_t *> view.buf, view.len,
                                         <uint8_t *> target.buf + at)
                self.busy = False
            finally:
                PyBuffer_Release(&target)
        finally:
            PyBuffer_Release(&view)
        return written

    def finish(self) -> bytes:
        """Returns the last characters with their padding (none or four). The encoder can then be used again."""
        cdef uint8_t last[4]
        cdef size_t n = base64_encode_finish(&self.state, last)
        return last[:n]


def encode(data) -> bytes:
    """Encodes one buffer."""
    return encode_segments((data,))


def encode_segments(segments) -> bytes:
    """Encodes several buffers as one message, without joining them."""
    cdef list parts = list(segments)
    cdef Py_ssize_t count = len(parts), held = 0, i
    cdef size_t total = 0
    cdef base64_encoder state = base64_encoder(carried=0)
    cdef bytes encoded
    cdef uint8_t *out
    cdef Py_buffer *views = <Py_buffer *> PyMem_Malloc((count + 1) * sizeof(Py_buffer))
    if views == NULL:
        raise MemoryError("no memory for the segments")
    try:
        for part in parts:
            PyObject_GetBuffer(part, &views[held], PyBUF_SIMPLE)
            total += views[held].len
            held += 1
        encoded = PyBytes_FromStringAndSize(NULL, (total + 2) // 3 * 4)
        out = <uint8_t *> PyBytes_AS_STRING(encoded)
        with nogil:
            for i in range(count):
                out += base64_encode_update(&state, active, <const uint8_t *> views[i].buf, views[i].len, out)
            base64_encode_finish(&state, out)
    finally:
        for i in range(held):
            PyBuffer_Release(&views[i])
        PyMem_Free(views)
    return encoded


@cython.final
cdef class Base64Decoder:
    """Decodes a stream that may be cut at any character. Skips line breaks (CR and LF).

    Refuses everything else that is not canonical base64.
    """

    cdef base64_decoder state
    cdef size_t seen
    cdef bint failed

    def update(self, data) -> bytes:
        """Returns the bytes that are complete after these characters.

        Raises ValueError with the offset in the stream if a character is wrong.
        """
        cdef Py_buffer view
        cdef size_t taken = 0, written = 0
        cdef base64_status status
        cdef bytes decoded
        cdef uint8_t *out
        if self.failed:
            raise ValueError("base64: the stream was refused before")
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            decoded = PyBytes_FromStringAndSize(NULL, (self.state.sextets + view.len) // 4 * 3 + BASE64_DECODE_SLACK)
            out = <uint8_t *> PyBytes_AS_STRING(decoded)
            # The GIL stays held so that no other thread can change the state meanwhile. Large inputs use the scanner.
            status = base64_decode_text(&self.state, active, <const uint8_t *> view.buf, view.len, out,
                                        &taken, &written)
        finally:
            PyBuffer_Release(&view)
        self.seen += taken
        self.check(status)
        return decoded[:written]

    def finish(self) -> None:
        """Raises ValueError if the stream ended inside a quad."""
        self.check(base64_decode_end(&self.state))

    cdef int check(self, base64_status status) except -1:
        if status != BASE64_OK:
            self.failed = True
            raise ValueError(f"base64: {base64_status_text(status).decode()}, offset {self.seen}")
        return 0


def decode(data) -> bytes:
    """Decodes a whole text as Base64Decoder does. Raises ValueError with the offset of the wrong character."""
    decoder = Base64Decoder()
    decoded = decoder.update(data)
    decoder.finish()
    return decoded
