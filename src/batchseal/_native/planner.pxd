"""What the planner uses of ext/pdfscan."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "pdfscan/pdf_arena.h" nogil:
    ctypedef struct pdf_arena:
        pass
    ctypedef struct pdf_buffer:
        pdf_arena *arena
        uint8_t *bytes
        size_t length
    void pdf_arena_free(pdf_arena *arena)

cdef extern from "pdfscan/pdf_lexer.h" nogil:
    ctypedef struct pdf_span:
        const uint8_t *at
        const uint8_t *end

cdef extern from "pdfscan/pdf_section.h" nogil:
    ctypedef struct pdf_long_term:
        pdf_buffer objects
        pdf_buffer rows
        pdf_buffer lists[3]
        pdf_buffer others
        uint32_t dss
        uint32_t dss_generation
        uint64_t next_number
        uint64_t start
        uint64_t previous
        uint64_t trailer
        uint64_t range
        pdf_buffer cipher
        bint is_stream
        bint has_time_stamp

cdef extern from "pdfscan/pdf_plan.h" nogil:
    ctypedef enum pdf_refusal:
        PDF_OK
        PDF_REFUSE_ENCRYPTED
        PDF_REFUSE_FORBIDDEN
        PDF_REFUSE_FIELD_MISSING
        PDF_REFUSE_FIELD_SIGNED
        PDF_REFUSE_FIELD_TYPE
        PDF_REFUSE_FIELD_TWICE
        PDF_REFUSE_NO_SUCH_PAGE
        PDF_REFUSE_OUTSIDE_PAGE
        PDF_REFUSE_OTHER_RULES
        PDF_REFUSE_OTHER_AREA
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
    enum:
        PDF_RULE_CALIBRATED
        PDF_RULE_OPAQUE
        PDF_RULE_CID_SET
        PDF_OBJECT_MARK
        PDF_TEXT_MARK
        PDF_MOST_DRAWN
    ctypedef struct pdf_drawn_object:
        pdf_span entries
        pdf_span stream
        bint has_stream
        bint is_shared
    ctypedef struct pdf_appearance:
        const pdf_drawn_object *objects
        unsigned count
        unsigned rules
        uint32_t page
        double x
        double y
        bint is_upper_left
        double width
        double height
        bint yields
    ctypedef struct pdf_insertion:
        size_t offset
    ctypedef struct pdf_plan_request:
        size_t contents_bytes
        pdf_text reason
        pdf_text location
        pdf_text name
        pdf_text time
        pdf_text field
        const char *digest_method
        bint has_section
        bint has_time_stamp
        pdf_limits limits
        const pdf_unlock *unlock
        const pdf_appearance *appearance
    ctypedef enum pdf_xref_form:
        PDF_XREF_TABLE
        PDF_XREF_STREAM
        PDF_XREF_HYBRID
    ctypedef struct pdf_plan:
        size_t skipped_bytes
        pdf_buffer head
        pdf_buffer tail
        pdf_insertion *inserted
        unsigned inserted_count
        uint64_t byte_range[4]
        uint64_t reserved_bytes
        uint32_t field_number
        pdf_xref_form form
        bint rebuilt
        pdf_encryption encryption
        pdf_long_term section
        pdf_buffer seed_values
        pdf_buffer open_fields
        uint32_t open_count
        uint32_t pages
        double page_width
        double page_height
        double area_width
        double area_height
        unsigned rules
    size_t pdf_memory_bound(size_t n)
    size_t pdf_update_bound(size_t n)
    pdf_refusal pdf_plan_update(
        const uint8_t *file, size_t n, const pdf_plan_request *request,
        pdf_arena *arena, pdf_plan *plan)
