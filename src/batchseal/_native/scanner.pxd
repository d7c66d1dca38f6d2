from libc.stdint cimport int64_t, uint8_t, uint64_t

from batchseal._native.cpu cimport cpu_isa


cdef extern from "jsonscan/docbuffer.h" nogil:
    ctypedef struct docbuffer:
        uint8_t *data
        size_t used
        size_t capacity
    docbuffer *docbuffer_new(size_t capacity)
    bint docbuffer_grow(docbuffer *b, size_t capacity)
    void docbuffer_free(docbuffer *b)
    size_t docbuffer_live()
    size_t docbuffer_cached_bytes()
    size_t docbuffer_cache_limit()
    void docbuffer_set_cache(size_t limit)


cdef extern from "jsonscan/jsonscan.h" nogil:
    ctypedef struct jsonscan:
        pass
    ctypedef struct jsonscan_kernel:
        pass
    ctypedef enum jsonscan_kind:
        JSONSCAN_MEMORY
    ctypedef struct jsonscan_limits:
        uint64_t max_depth, max_documents, max_document_bytes, max_skeleton_bytes
    ctypedef struct jsonscan_failure:
        jsonscan_kind kind
        const char *place
        const char *message
        uint64_t offset
        int64_t ordinal
    ctypedef struct jsonscan_document:
        uint64_t ordinal
        size_t text_start, text_bytes
        docbuffer *content
    const char *jsonscan_kind_name(jsonscan_kind kind)
    const jsonscan_kernel *jsonscan_kernel_for(const cpu_isa *isa)
    const char *jsonscan_kernel_name(const jsonscan_kernel *kernel)
    jsonscan *jsonscan_new(const jsonscan_limits *limits, const cpu_isa *isa, const uint64_t *seed)
    void jsonscan_free(jsonscan *s)
    bint jsonscan_feed(jsonscan *s, const uint8_t *data, size_t n)
    bint jsonscan_finish(jsonscan *s)
    jsonscan_document *jsonscan_documents(jsonscan *s, size_t *n)
    const uint8_t *jsonscan_text(const jsonscan *s)
    void jsonscan_clear(jsonscan *s)
    docbuffer *jsonscan_take_content(jsonscan *s, size_t least_bytes)
    const jsonscan_failure *jsonscan_get_failure(const jsonscan *s)
    const uint8_t *jsonscan_request(const jsonscan *s, size_t *n)
    uint64_t jsonscan_documents_seen(const jsonscan *s)
    uint64_t jsonscan_bytes_seen(const jsonscan *s)


cdef class DocumentBuffer:
    cdef docbuffer *buffer
    cdef Py_ssize_t exports


cdef class RequestScanner:
    cdef jsonscan *scanner
    cdef bint busy
    cdef readonly object failure

    cdef int check_usable(self) except -1
    cdef list take_documents(self)
    cdef int note_failure(self) except -1
