from libc.stdint cimport uint8_t, uint32_t, uint64_t

from batchseal._native.cpu cimport cpu_isa


cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t n, const void *needle, size_t needle_n)


cdef extern from "mbsha256/mbsha256.h" nogil:
    ctypedef struct mbsha256_engine:
        pass
    const mbsha256_engine *mbsha256_engine_fastest(const char *isa)


cdef extern from "xmlc14n/xmlc14n.h" nogil:
    const int XMLC14N_MAX_STEPS
    const int XMLC14N_SHOWN_PATHS
    ctypedef struct xmlc14n:
        pass
    ctypedef struct xmlc14n_kernel:
        pass
    ctypedef enum xmlc14n_status:
        XMLC14N_OK
        XMLC14N_MEMORY
        XMLC14N_OUTPUT
        XMLC14N_STATUSES
    ctypedef struct xmlc14n_text:
        const uint8_t *bytes
        size_t n
    ctypedef struct xmlc14n_limits:
        uint32_t depth, attributes, namespaces
        uint64_t nodes, further_nodes
        uint32_t attribute_namespaces
        uint64_t tag_bytes, output_bytes
        uint32_t output_factor
        uint64_t memory_bytes
    ctypedef struct xmlc14n_step:
        xmlc14n_text prefix, name
        uint32_t position
    ctypedef struct xmlc14n_options:
        const xmlc14n_step *steps
        size_t step_count
        bint anywhere, with_comments, without_signatures, any_encoding, has_apex
        uint64_t apex
        const uint64_t *omitted
        size_t omitted_count
        const xmlc14n_text *inclusive
        size_t inclusive_count
    ctypedef struct xmlc14n_namespace:
        xmlc14n_text prefix, uri
    ctypedef struct xmlc14n_result:
        xmlc14n_status status
        uint64_t refused_at, canonical_bytes, nodes, further_nodes, match_count, place
        xmlc14n_text detail
        bint match_in_signature, self_closed
        xmlc14n_text paths[3]
        xmlc14n_text root, parent
        xmlc14n_namespace *namespaces
        size_t namespace_count, id_count, enclosing_id_count, signature_count
        xmlc14n_text *ids
        xmlc14n_text *enclosing_ids
        uint64_t (*signatures)[2]
    const char *xmlc14n_status_code(xmlc14n_status status)
    const char *xmlc14n_status_message(xmlc14n_status status)
    void xmlc14n_position(xmlc14n_text document, uint64_t offset, uint64_t *line, uint64_t *column)
    const xmlc14n_kernel *xmlc14n_kernel_for(const cpu_isa *isa)
    const char *xmlc14n_kernel_name(const xmlc14n_kernel *kernel)
    xmlc14n *xmlc14n_new(const xmlc14n_limits *limits, const cpu_isa *isa, uint64_t seed)
    void xmlc14n_free(xmlc14n *c)
    void xmlc14n_reset(xmlc14n *c)
    size_t xmlc14n_held_bytes(const xmlc14n *c)


cdef extern from "<stdbool.h>" nogil:
    # Cython's own bint is an int in C, and a function that returns one is no function that returns a bool.
    ctypedef bint c_bool "bool"


cdef extern from "xmlc14n/digest.h" nogil:
    ctypedef c_bool (*sink)(void *context, const uint8_t *data, size_t n) noexcept
    ctypedef struct xmlc14n_job:
        xmlc14n_text document
        xmlc14n_options options
        sink sink
        void *context
        uint8_t digest[32]
        xmlc14n_result result
    size_t xmlc14n_digest_many(xmlc14n *c, const mbsha256_engine *engine, xmlc14n_job *jobs, size_t count)
