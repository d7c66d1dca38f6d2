# cython: auto_pickle=False, autotestdict=False
"""Computes the SHA-256 digests of many messages at once. Each message is a list of segments, which are never joined.

This module holds the buffers while C code uses them, and selects the kernels. ext/mbsha256 does the work, without the
GIL. Callers decide which bytes a digest covers. Other digest algorithms are not done here. `Sha256State` digests one
message that comes piece by piece, and can be kept in between.
"""

import hashlib
from collections.abc import Sequence

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from batchseal._native.cpu import choose_instruction_set, instruction_sets


cdef extern from "mbsha256/mbsha256.h" nogil:
    const size_t MBSHA256_DIGEST_BYTES
    const size_t MBSHA256_SCRATCH_ALIGN

    ctypedef enum mbsha256_status:
        MBSHA256_OK
        MBSHA256_TOO_MANY_JOBS
        MBSHA256_TOO_LONG

    ctypedef struct mbsha256_segment:
        const uint8_t *data
        size_t bytes

    ctypedef struct mbsha256_stream:
        uint32_t state[8]
        uint64_t bytes
        uint8_t rest[64]

    ctypedef struct mbsha256_job:
        const mbsha256_segment *segments
        size_t segment_count
        uint8_t *digest
        uint64_t bytes
        mbsha256_stream *kept
        size_t kept_segments

    ctypedef struct mbsha256_engine:
        pass

    const mbsha256_engine *mbsha256_engine_find(const char *isa)
    const mbsha256_engine *mbsha256_engine_next(const mbsha256_engine *engine)
    const mbsha256_engine *mbsha256_engine_fastest(const char *isa)
    const char *mbsha256_engine_kernel(const mbsha256_engine *engine)
    size_t mbsha256_scratch_bytes(size_t job_count)
    mbsha256_status mbsha256_digest_many(
        const mbsha256_engine *engine, mbsha256_job *jobs, size_t job_count, void *scratch)


cdef extern from "mbsha256/stream.h" nogil:
    void mbsha256_stream_begin(mbsha256_stream *s)
    void mbsha256_stream_add(const mbsha256_engine *engine, mbsha256_stream *s, const uint8_t *data, size_t n)
    void mbsha256_stream_digest(const mbsha256_engine *engine, const mbsha256_stream *s, uint8_t *digest)


STATUS_MESSAGES = {
    MBSHA256_TOO_MANY_JOBS: "more than 4,294,967,295 messages in one batch",
    MBSHA256_TOO_LONG: "a message of 2**61 bytes or more",
}

cdef const mbsha256_engine *active_engine = NULL
cdef str active_name = ""


def use_kernels(name: str | None = None, kernel: str | None = None) -> str:
    """Selects the instruction set whose kernels are used from now on (None: the best one), and returns its name.

    Where `kernels_of` has several for it, the fastest is measured, unless `kernel` names one of them. Raises ValueError if
    the instruction set or the kernel is unknown or this processor does not support it.
    """
    global active_engine, active_name
    cdef const mbsha256_engine *engine
    chosen = choose_instruction_set(name)
    if kernel is None:
        engine = mbsha256_engine_fastest(chosen.encode())
    else:
        engine = mbsha256_engine_find(chosen.encode())
        while engine != NULL and name_of(engine) != kernel:
            engine = mbsha256_engine_next(engine)
    if engine == NULL:
        raise ValueError(f"unknown kernel {kernel!r} for {chosen}; known are: {', '.join(kernels_of(chosen))}")
    active_engine = engine
    active_name = chosen
    return chosen


def kernels() -> list[tuple[str, str, bool, bool]]:
    """For each instruction set, best first: name, kernels, whether this processor supports it, whether it is in use."""
    return [
        (name, name_of(active_engine) if name == active_name else kernels_of(name)[0], supported, name == active_name)
        for name, supported in instruction_sets()
    ]


def kernels_of(str name) -> list[str]:
    """The kernels that there are for an instruction set; none if it is unknown."""
    cdef const mbsha256_engine *engine = mbsha256_engine_find(name.encode())
    found = []
    while engine != NULL:
        found.append(name_of(engine))
        engine = mbsha256_engine_next(engine)
    return found


cdef str name_of(const mbsha256_engine *engine):
    return (<bytes> mbsha256_engine_kernel(engine)).decode()


cdef class _Batch:
    """The buffers and jobs of one call. It holds every buffer until it is freed, even if the caller changes its lists."""

    cdef void *allocation
    cdef void *scratch
    cdef Py_buffer *views
    cdef mbsha256_segment *segments
    cdef mbsha256_job *jobs
    cdef size_t view_count, job_count
    cdef list digests

    def __cinit__(self, list parts) -> None:
        """Takes a tuple of buffers for each job."""
        cdef size_t segment_count = 0
        cdef tuple job
        for job in parts:
            segment_count += len(job)
        cdef size_t job_count = len(parts)
        cdef size_t scratch_bytes = align_up(mbsha256_scratch_bytes(job_count))
        cdef size_t view_bytes = align_up(segment_count * sizeof(Py_buffer))
        cdef size_t segment_bytes = align_up(segment_count * sizeof(mbsha256_segment))
        self.allocation = PyMem_Malloc(
            MBSHA256_SCRATCH_ALIGN + scratch_bytes + view_bytes + segment_bytes + job_count * sizeof(mbsha256_job))
        if self.allocation == NULL:
            raise MemoryError
        cdef uint8_t *at = <uint8_t *> align_up(<size_t> self.allocation)
        self.scratch = at
        self.views = <Py_buffer *> (at + scratch_bytes)
        self.segments = <mbsha256_segment *> (at + scratch_bytes + view_bytes)
        self.jobs = <mbsha256_job *> (at + scratch_bytes + view_bytes + segment_bytes)
        self.digests = []
        for job in parts:
            self.add(job)

    cdef int add(self, tuple buffers) except -1:
        cdef mbsha256_job *job = &self.jobs[self.job_count]
        cdef Py_buffer *view
        cdef bytes digest = PyBytes_FromStringAndSize(NULL, MBSHA256_DIGEST_BYTES)
        job.segments = &self.segments[self.view_count]
        job.segment_count = len(buffers)
        job.digest = <uint8_t *> PyBytes_AS_STRING(digest)  # it can be written to, because nobody else has it yet
        job.kept = NULL
        for buffer in buffers:
            view = &self.views[self.view_count]
            PyObject_GetBuffer(buffer, view, PyBUF_SIMPLE)
            self.segments[self.view_count] = mbsha256_segment(data=<const uint8_t *> view.buf, bytes=view.len)
            self.view_count += 1
        self.digests.append(digest)
        self.job_count += 1
        return 0

    def __dealloc__(self) -> None:
        while self.view_count > 0:
            self.view_count -= 1
            PyBuffer_Release(&self.views[self.view_count])
        PyMem_Free(self.allocation)

    cdef void run(self) except *:
        cdef const mbsha256_engine *engine = active_engine
        cdef mbsha256_status status
        with nogil:
            status = mbsha256_digest_many(engine, self.jobs, self.job_count, self.scratch)
        if status != MBSHA256_OK:
            raise OverflowError(STATUS_MESSAGES[status])


cdef inline size_t align_up(size_t size) noexcept:
    return (size + MBSHA256_SCRATCH_ALIGN - 1) & ~(<size_t> MBSHA256_SCRATCH_ALIGN - 1)


def sha256_many(jobs: Sequence[Sequence["Buffer"]]) -> list[bytes]:
    """Returns the SHA-256 digest (32 bytes) of each job, in order. A job is a sequence of the segments of one message.

    Segments are contiguous bytes-like objects. They must not change until this returns, because the GIL is released for
    the whole batch. Raises TypeError or BufferError for any other object.
    """
    cdef _Batch batch = _Batch([tuple(job) for job in jobs])
    batch.run()
    return batch.digests


def sha256_many_kept(jobs: Sequence[Sequence["Buffer"]], size_t segments) -> list[tuple[bytes, bytes]]:
    """Returns for each job its digest, and its state behind the first `segments` segments, as `Sha256State` keeps it.

    The rest is as with `sha256_many`. Raises ValueError for a job that has fewer segments.
    """
    cdef _Batch batch = _Batch([tuple(job) for job in jobs])
    cdef mbsha256_stream *kept = <mbsha256_stream *> PyMem_Malloc((batch.job_count + 1) * sizeof(mbsha256_stream))
    cdef size_t i
    if kept == NULL:
        raise MemoryError
    try:
        for i in range(batch.job_count):
            if batch.jobs[i].segment_count < segments:
                raise ValueError(f"a message of fewer than {segments} segments")
            batch.jobs[i].kept = &kept[i]
            batch.jobs[i].kept_segments = segments
        batch.run()
        return [(batch.digests[i], as_bytes(&kept[i])) for i in range(batch.job_count)]
    finally:
        PyMem_Free(kept)


def sha256(data: "Buffer") -> bytes:
    """Returns the SHA-256 digest (32 bytes) of one contiguous bytes-like object. Releases the GIL."""
    return sha256_many(((data,),))[0]


# A state as it is kept: the eight words and the length of the message, big-endian, then what does not fill a block.
cdef enum:
    STATE_BYTES = 8 * 4 + 8
    BLOCK_BYTES = 64


cdef bytes as_bytes(const mbsha256_stream *stream):
    cdef size_t i
    words = b"".join([(<object> stream.state[i]).to_bytes(4, "big") for i in range(8)])
    return words + (<object> stream.bytes).to_bytes(8, "big") + stream.rest[:stream.bytes % BLOCK_BYTES]


@cython.final
cdef class Sha256State:
    """The SHA-256 of one message that comes piece by piece. One thread at a time.

    `kept` gives the state as bytes, and `Sha256State(kept)` goes on with it, in another process or under other kernels.
    Without an argument the message is empty so far. Raises ValueError for bytes that are no state.
    """

    cdef mbsha256_stream stream

    def __init__(self, kept: "Buffer" = b"") -> None:
        cdef bytes given = bytes(kept)
        cdef size_t i
        mbsha256_stream_begin(&self.stream)
        if not given:
            return
        length = int.from_bytes(given[32:STATE_BYTES], "big")
        if len(given) < STATE_BYTES or length >= 1 << 61 or len(given) != STATE_BYTES + length % BLOCK_BYTES:
            raise ValueError("these bytes are not the state of a digest")
        for i in range(8):
            self.stream.state[i] = int.from_bytes(given[4 * i:4 * i + 4], "big")
        self.stream.bytes = length
        for i in range(len(given) - STATE_BYTES):
            self.stream.rest[i] = given[STATE_BYTES + i]

    def update(self, data: "Buffer") -> None:
        """Adds a contiguous bytes-like object to the message. Releases the GIL."""
        cdef Py_buffer view
        cdef const mbsha256_engine *engine = active_engine
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if <uint64_t> view.len >= (<uint64_t> 1 << 61) - self.stream.bytes:
                raise OverflowError(STATUS_MESSAGES[MBSHA256_TOO_LONG])
            with nogil:
                mbsha256_stream_add(engine, &self.stream, <const uint8_t *> view.buf, view.len)
        finally:
            PyBuffer_Release(&view)

    def digest(self) -> bytes:
        """Returns the digest (32 bytes) of the message so far. More can be added afterwards."""
        cdef uint8_t[32] out
        mbsha256_stream_digest(active_engine, &self.stream, out)
        return out[:32]

    def kept(self) -> bytes:
        """Returns the state, 40 to 103 bytes."""
        return as_bytes(&self.stream)


use_kernels(None)


@cython.final
cdef class StreamDigest:
    """The digest of what comes in pieces, and with `keep_state` the state of SHA-256 over it too."""

    cdef object digests, state

    def __init__(self, str algorithm, bint keep_state) -> None:
        self.state = Sha256State() if keep_state else None
        # SHA-256 is one of both.
        self.digests = self.state if keep_state and algorithm == "sha256" else hashlib.new(algorithm)

    def update(self, piece) -> None:
        self.digests.update(piece)
        if self.state is not None and self.state is not self.digests:
            self.state.update(piece)

    def digest(self) -> bytes:
        return self.digests.digest()

    def kept(self) -> bytes:
        """What `Sha256State` can be made of; empty without `keep_state`."""
        return b"" if self.state is None else self.state.kept()
