# cython: auto_pickle=False, autotestdict=False
"""Makes the canonical form of XML documents (Exclusive XML Canonicalization 1.0), and tells where a signature goes.

This module holds the documents while C code reads them, and keeps the memory of that code for the next call. ext/xmlc14n
does the work, without the GIL. A document that cannot be signed gives a CanonicalRefusal with a code and a message for a
person. Callers transcode what is not UTF-8, parse locations, and judge signatures that are there already.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

cimport cython
from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint8_t, uint64_t

from batchseal._native.cpu cimport cpu_isa_find

from batchseal._native.canonical_limits import CanonicalLimits, shown_limit
from batchseal._native.cpu import choose_instruction_set, default_instruction_set, instruction_sets
from batchseal._native.digest import StreamDigest


# Of the canonicalisers that are kept for the next call: how many, and how much memory each may hold beside its buffer. There is
# one for each thread that usually runs: a new buffer costs more than half of the time that it is used for, in page faults.
cdef Py_ssize_t KEPT = 4
cdef size_t KEPT_BYTES = 1 << 20

# The most ids that are told where only some are asked for.
TOLD_IDS = 1_000

cdef str active_name = default_instruction_set()
cdef const mbsha256_engine *active_engine = mbsha256_engine_fastest(active_name.encode())
cdef list idle = []


def use_kernels(name: str | None = None) -> str:
    """Selects the instruction set whose kernels are used from now on (None: the best one), and returns its name.

    Raises ValueError if the instruction set is unknown or this processor does not support it.
    """
    global active_name, active_engine
    active_name = choose_instruction_set(name)
    active_engine = mbsha256_engine_fastest(active_name.encode())
    idle.clear()
    return active_name


def give_back_memory() -> None:
    """Frees what is kept for the next call."""
    idle.clear()


def kernels() -> list[tuple[str, str, bool, bool]]:
    """For each instruction set, best first: name, kernel, whether this processor supports it, whether it is in use."""
    cdef const xmlc14n_kernel *kernel
    found = []
    for name, supported in instruction_sets():
        kernel = xmlc14n_kernel_for(cpu_isa_find(name.encode()))
        found.append((name, xmlc14n_kernel_name(kernel).decode(), supported, name == active_name))
    return found


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class CanonicalTask:
    """A document, and what is asked of it.

    `content` is UTF-8; if it was `transcoded` to that, the encoding that it declares means nothing. `steps` of a location are
    tuples of prefix (None: any namespace), name ("*": any) and position (None: any); without steps it is the root.
    `anywhere`: the first step may be at any depth. `without_signatures`: every ds:Signature is left out of the canonical form.
    `omitted` are rising offsets of start tags whose elements are left out, `apex` that of the only element that is written.
    Without `digest_algorithm` there is no digest: the document is only looked at.
    `inclusive_prefixes` is the InclusiveNamespaces PrefixList, with "" for #default. `keep_state`: the state of SHA-256
    over the canonical form is wanted too. `id_part` (None: all ids): only ids that contain it are told, at most TOLD_IDS of them.
    `brief`: the namespaces in scope and the ranges of signatures are not told, the enclosing ids only beside a signature.
    """

    content: object
    steps: object = ()
    anywhere: bool = False
    with_comments: bool = False
    without_signatures: bool = False
    transcoded: bool = False
    digest_algorithm: object = "sha256"
    inclusive_prefixes: object = ()
    omitted: object = ()
    apex: object = None
    keep_state: bool = False
    id_part: object = None
    brief: bool = False


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class CanonicalForm:
    """What was found. Offsets count bytes from the first byte of the content, `nodes` elements and attributes.
    `further_nodes` are texts, CDATA sections, comments, processing instructions and namespace declarations.

    `match_count` elements outside of signatures are what the location names, the first ones at `paths`. Of the first of them:
    `place` is where a last child would be put, `parent` its name as it is written, `prefixes` the namespaces in scope, and
    `enclosing_ids` the ids of it and of the elements around it. If it is `self_closed`, `place` is at the slash of its tag.
    `ids` are the values of all attributes named Id, ID, id and xml:id. `signatures` are the ranges of the `signature_count`
    outermost ds:Signature elements. `state` is a kept `Sha256State`, where one was wanted.
    """

    digest: bytes
    canonical_bytes: int
    nodes: int
    further_nodes: int
    root: str
    match_count: int
    match_in_signature: bool
    paths: tuple
    place: int
    self_closed: bool
    parent: str
    prefixes: dict
    ids: frozenset
    enclosing_ids: frozenset
    signatures: tuple
    signature_count: int
    state: bytes = b""


@dataclass(frozen=True)
class CanonicalRefusal:
    """Why a document has no canonical form: a code that never changes, and a message for a person.

    It is at byte `offset`; `line` and `column`, in characters, count from 1.
    """

    code: str
    message: str
    offset: int
    line: int
    column: int


@cython.final
cdef class _Canonicaliser:
    cdef xmlc14n *c

    def __cinit__(self, limits) -> None:
        cdef bytes seed = os.urandom(8)
        cdef bytes isa = active_name.encode()
        cdef xmlc14n_limits bounds = xmlc14n_limits(
            depth=limits.depth, attributes=limits.attributes, namespaces=limits.namespaces, nodes=limits.nodes,
            further_nodes=limits.further_nodes, attribute_namespaces=limits.attribute_namespaces,
            tag_bytes=limits.tag_bytes, output_bytes=limits.output_bytes, output_factor=limits.output_factor,
            memory_bytes=limits.memory_bytes)
        self.c = xmlc14n_new(&bounds, cpu_isa_find(isa), (<const uint64_t *> <const char *> seed)[0])
        if self.c == NULL:
            raise MemoryError("no memory for a canonicaliser")

    def __dealloc__(self):
        xmlc14n_free(self.c)


cdef c_bool take_piece(void *context, const uint8_t *data, size_t n) noexcept with gil:
    try:
        (<object> context)(PyMemoryView_FromMemory(<char *> data, n, PyBUF_READ))
    except BaseException:
        return False
    return True


cdef c_bool drop_piece(void *context, const uint8_t *data, size_t n) noexcept nogil:
    return True


@cython.final
cdef class _Jobs:
    """The jobs of one call, with everything that they refer to."""

    cdef xmlc14n_job *jobs
    cdef Py_buffer *views
    cdef size_t view_count
    cdef list kept

    def __cinit__(self, list tasks, list takers) -> None:
        """`takers` has a callable for each task that takes the canonical form, or None."""
        cdef size_t i
        self.kept = []
        self.jobs = <xmlc14n_job *> PyMem_Calloc(len(tasks), sizeof(xmlc14n_job))
        self.views = <Py_buffer *> PyMem_Calloc(len(tasks), sizeof(Py_buffer))
        if self.jobs == NULL or self.views == NULL:
            raise MemoryError
        for i in range(len(tasks)):
            self.add(&self.jobs[i], tasks[i], takers[i])

    def __dealloc__(self):
        while self.view_count > 0:
            self.view_count -= 1
            PyBuffer_Release(&self.views[self.view_count])
        PyMem_Free(self.views)
        PyMem_Free(self.jobs)

    cdef int add(self, xmlc14n_job *job, CanonicalTask task, taker) except -1:
        cdef Py_buffer *view = &self.views[self.view_count]
        PyObject_GetBuffer(task.content, view, PyBUF_SIMPLE)
        self.view_count += 1
        job.document = xmlc14n_text(<const uint8_t *> view.buf, view.len)
        job.options.anywhere = task.anywhere
        job.options.with_comments = task.with_comments
        job.options.without_signatures = task.without_signatures
        job.options.any_encoding = task.transcoded
        if task.apex is not None:
            job.options.has_apex = True
            job.options.apex = task.apex
        if task.steps:
            self.add_steps(&job.options, list(task.steps))
        if task.inclusive_prefixes:
            self.add_inclusive(&job.options, list(task.inclusive_prefixes))
        if task.omitted:
            self.add_omitted(&job.options, list(task.omitted))
        if taker is not None:
            self.kept.append(taker)
            job.context = <void *> taker
            job.sink = take_piece
        elif task.digest_algorithm is None:
            job.sink = drop_piece
        return 0

    cdef void *block(self, size_t bytes) except NULL:
        """Memory that is freed with the jobs."""
        cdef bytearray memory = bytearray(bytes)
        self.kept.append(memory)
        return <void *> <char *> memory

    cdef xmlc14n_text text(self, str value) except *:
        cdef bytes encoded = value.encode("utf-8", "surrogatepass")
        self.kept.append(encoded)
        return xmlc14n_text(<const uint8_t *> <const char *> encoded, len(encoded))

    cdef int add_steps(self, xmlc14n_options *options, list steps) except -1:
        cdef size_t i
        if len(steps) > XMLC14N_MAX_STEPS:
            raise ValueError(f"more than {XMLC14N_MAX_STEPS} steps")
        cdef xmlc14n_step *made = <xmlc14n_step *> self.block(len(steps) * sizeof(xmlc14n_step))
        for i in range(len(steps)):
            prefix, name, position = steps[i]
            if prefix is not None:
                made[i].prefix = self.text(prefix)
            made[i].name = self.text(name)
            made[i].position = 0 if position is None else position
        options.steps = made
        options.step_count = len(steps)
        return 0

    cdef int add_inclusive(self, xmlc14n_options *options, list prefixes) except -1:
        cdef size_t i
        cdef xmlc14n_text *made = <xmlc14n_text *> self.block(len(prefixes) * sizeof(xmlc14n_text))
        for i in range(len(prefixes)):
            made[i] = self.text(prefixes[i])
        options.inclusive = made
        options.inclusive_count = len(prefixes)
        return 0

    cdef int add_omitted(self, xmlc14n_options *options, list offsets) except -1:
        cdef size_t i
        cdef uint64_t *made = <uint64_t *> self.block(len(offsets) * sizeof(uint64_t))
        for i in range(len(offsets)):
            made[i] = offsets[i]
        options.omitted = made
        options.omitted_count = len(offsets)
        return 0


cdef str shown(xmlc14n_text text):
    return (<bytes> text.bytes[:text.n]).decode() if text.n else ""


cdef object refusal_of(const xmlc14n_job *job, limits):
    cdef const xmlc14n_result *r = &job.result
    cdef uint64_t line = 0, column = 0
    code, message = xmlc14n_status_code(r.status).decode(), xmlc14n_status_message(r.status).decode()
    if r.status == XMLC14N_MEMORY:
        raise MemoryError(message)
    if r.status == XMLC14N_OUTPUT:
        raise RuntimeError(message)
    xmlc14n_position(job.document, r.refused_at, &line, &column)
    # The detail comes from a document that is refused, so it may be anything.
    detail = (<bytes> r.detail.bytes[:r.detail.n]).decode("utf-8", "replace")[:80] if r.detail.n else ""
    message = message.format(detail=detail, limit=shown_limit(limits or CanonicalLimits(), code))
    return CanonicalRefusal(code, message, r.refused_at, line, column)


cdef list ids_with(const xmlc14n_result *r, part):
    """The ids that contain `part`, or the first TOLD_IDS of them. Only these become Python strings: a document can have hundreds
    of thousands of ids."""
    cdef bytes wanted = b"" if part is None else part.encode()
    cdef const char *sought = wanted
    cdef size_t n = len(wanted), i
    found = []
    for i in range(r.id_count):
        if n == 0 or (r.ids[i].n >= n and memmem(r.ids[i].bytes, r.ids[i].n, sought, n) != NULL):
            found.append(shown(r.ids[i]))
            if part is not None and len(found) == TOLD_IDS:
                break
    return found


cdef object form_of(const xmlc14n_job *job, CanonicalTask task, digest):
    cdef const xmlc14n_result *r = &job.result
    cdef size_t i, scope = 0 if task.brief else r.namespace_count, ranges = 0 if task.brief else r.signature_count
    cdef size_t enclosing = 0 if task.brief and r.signature_count == 0 else r.enclosing_id_count
    return CanonicalForm(
        digest=digest.digest() if digest is not None else b"" if job.sink == drop_piece else job.digest[:32],
        canonical_bytes=r.canonical_bytes,
        nodes=r.nodes,
        further_nodes=r.further_nodes,
        root=shown(r.root),
        match_count=r.match_count,
        match_in_signature=r.match_in_signature,
        paths=tuple([shown(r.paths[i]) for i in range(min(r.match_count, XMLC14N_SHOWN_PATHS))]),
        place=r.place,
        self_closed=r.self_closed,
        parent=shown(r.parent),
        prefixes={shown(r.namespaces[i].prefix): shown(r.namespaces[i].uri) for i in range(scope)},
        ids=frozenset(ids_with(r, task.id_part)),
        enclosing_ids=frozenset([shown(r.enclosing_ids[i]) for i in range(enclosing)]),
        signatures=tuple([(r.signatures[i][0], r.signatures[i][1]) for i in range(ranges)]),
        signature_count=r.signature_count,
        state=digest.kept() if isinstance(digest, StreamDigest) else b"",
    )


cdef list run(list tasks, list takers, list digests, limits):
    """Runs all tasks, the GIL released, and reads the results."""
    cdef _Jobs jobs = _Jobs(tasks, takers)
    cdef _Canonicaliser own = idle.pop() if idle and limits is None else _Canonicaliser(limits or CanonicalLimits())
    cdef const mbsha256_engine *engine = active_engine
    cdef size_t count = len(tasks), done = 0, part, i
    cdef list results = []
    while done < count:
        with nogil:
            part = xmlc14n_digest_many(own.c, engine, jobs.jobs + done, count - done)
        for i in range(done, done + part):
            if jobs.jobs[i].result.status == XMLC14N_OK:
                results.append(form_of(&jobs.jobs[i], tasks[i], digests[i]))
            else:
                results.append(refusal_of(&jobs.jobs[i], limits))
        done += part
        xmlc14n_reset(own.c)
    if limits is None and len(idle) < KEPT and xmlc14n_held_bytes(own.c) <= KEPT_BYTES:
        idle.append(own)
    return results


def digest_many(tasks: Sequence[CanonicalTask], limits: CanonicalLimits | None = None) -> list:
    """Returns for each task, in order, a CanonicalForm with the digest of the canonical form, or a CanonicalRefusal.

    The contents must not change until this returns. Raises ValueError for an unknown digest algorithm, MemoryError.
    """
    listed = list(tasks)
    # SHA-256 alone is computed in the lanes.
    digests = [
        StreamDigest(one.digest_algorithm, one.keep_state)
        if one.keep_state or one.digest_algorithm not in (None, "sha256")
        else None
        for one in listed
    ]
    takers = [None if one is None else one.update for one in digests]
    return run(listed, takers, digests, limits)


def canonical_form(task: CanonicalTask, limits: CanonicalLimits | None = None) -> "bytes | CanonicalRefusal":
    """Returns the canonical form itself."""
    pieces = []
    found = run([task], [lambda piece: pieces.append(bytes(piece))], [hashlib.sha256()], limits)[0]
    return b"".join(pieces) if isinstance(found, CanonicalForm) else found


def refusal_codes() -> dict[str, list[str]]:
    """Returns every code that a CanonicalRefusal can have, each with its messages.

    {limit} in a message stands for the limit that was exceeded, {detail} for a text of the document.
    """
    cdef int status
    found = {}
    for status in range(XMLC14N_OK + 1, XMLC14N_STATUSES):
        if status not in (XMLC14N_MEMORY, XMLC14N_OUTPUT):
            code = xmlc14n_status_code(<xmlc14n_status> status).decode()
            found.setdefault(code, []).append(xmlc14n_status_message(<xmlc14n_status> status).decode())
    return found
