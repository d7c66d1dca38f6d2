# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""Writes the section behind the signature of a PDF that `planner` has planned, with its validation material.

It stands apart from the planner because a process that never sees such a document does without it.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uint8_t
from libc.string cimport memset

cimport cython

from batchseal._native.planner cimport (
    PDF_OK,
    pdf_arena,
    pdf_arena_free,
    pdf_buffer,
    pdf_long_term,
    pdf_refusal,
    pdf_refusal_message,
    pdf_text,
)


cdef extern from "pdfscan/pdf_section.h" nogil:
    enum:
        PDF_MATERIALS
    ctypedef struct pdf_material:
        const uint8_t *bytes
        size_t length
        bint is_deflated
    ctypedef struct pdf_material_list:
        const pdf_material *materials
        size_t count

cdef extern from "pdfscan/pdf_plan.h" nogil:
    pdf_refusal pdf_write_section(
        const pdf_long_term *section, pdf_text tail, const pdf_material_list *lists, size_t token_bytes,
        pdf_arena *arena, pdf_buffer *head, pdf_buffer *rest)


cdef bytes _bytes(const pdf_buffer *buffer):
    return PyBytes_FromStringAndSize(<const char *> buffer.bytes, buffer.length)


@cython.final
cdef class SectionMaterial:
    """The streams of a DSS dictionary: certificates, OCSP responses and CRLs, each bytes and whether they are zlib data.

    It is made once for all documents that share the material. Immutable; safe in threads.
    """

    cdef pdf_material_list[3] lists
    cdef pdf_material *materials
    cdef tuple kept

    def __cinit__(self, certificates, ocsp_responses, crls) -> None:
        cdef size_t at = 0, i
        cdef bytes content
        all_lists = [list(certificates), list(ocsp_responses), list(crls)]
        self.kept = tuple([bytes(one[0]) for each in all_lists for one in each])
        self.materials = <pdf_material *> PyMem_Malloc((len(self.kept) + 1) * sizeof(pdf_material))
        if self.materials == NULL:
            raise MemoryError
        for i in range(PDF_MATERIALS):
            self.lists[i] = pdf_material_list(materials=self.materials + at, count=len(all_lists[i]))
            for _, is_deflated in all_lists[i]:
                content = self.kept[at]
                self.materials[at] = pdf_material(
                    bytes=<const uint8_t *> <const char *> content, length=len(content), is_deflated=is_deflated)
                at += 1

    def __dealloc__(self) -> None:
        PyMem_Free(self.materials)


cdef pdf_buffer _view(bytes kept):
    return pdf_buffer(arena=NULL, bytes=<uint8_t *> <const char *> kept, length=len(kept))


def write_section(planned, bytes tail, SectionMaterial material, size_t token_bytes=0):
    """Writes a planned section behind an update with this tail.

    `planned` has the fields of `planner.PlannedSection`. Returns the bytes of the section around its time stamp, which is
    b"<" + hex + b">" with room for a token of `token_bytes`. Without a time stamp, all bytes are in the second part.

    Raises ValueError if what was kept of the plan is none, or there is too much material.
    """
    cdef pdf_long_term section
    cdef pdf_arena arena
    cdef pdf_refusal refusal
    cdef pdf_buffer head, rest
    cdef pdf_text before
    memset(&section, 0, sizeof(section))
    memset(&arena, 0, sizeof(arena))
    # The plan holds these bytes until this returns.
    kept = (planned.objects, planned.rows, planned.certificates, planned.ocsp_responses, planned.crls, planned.others,
            planned.cipher)
    section.objects, section.rows = _view(kept[0]), _view(kept[1])
    section.lists[0], section.lists[1], section.lists[2] = _view(kept[2]), _view(kept[3]), _view(kept[4])
    section.others = _view(kept[5])
    section.cipher = _view(kept[6])
    section.dss = planned.dss
    section.dss_generation = planned.dss_generation
    section.next_number = planned.next_number
    section.start = planned.start
    section.previous = planned.previous
    section.trailer = planned.trailer
    section.range = planned.range_at
    section.is_stream = planned.is_stream
    section.has_time_stamp = planned.has_time_stamp
    before.utf8 = tail
    before.bytes = len(tail)
    try:
        with nogil:
            refusal = pdf_write_section(&section, before, material.lists, token_bytes, &arena, &head, &rest)
        if refusal != PDF_OK:
            raise ValueError(pdf_refusal_message(refusal).decode())
        return _bytes(&head), _bytes(&rest)
    finally:
        pdf_arena_free(&arena)
