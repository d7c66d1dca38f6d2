/* SHA-256 (FIPS 180-4) of many messages at once.
 *
 *   segment   bytes anywhere in memory, of any length and alignment; the length may be 0
 *   job       one message: its segments are read one after another as if they were joined, but they never are
 *   lane      one job in progress; a kernel works on all its lanes at the same time
 *   kernel    compresses blocks of 64 bytes, for 1 (portable), 3 or 4 (SHA-NI), 8 (AVX2) or 16 (AVX-512) lanes
 *   engine    the kernels of one instruction set: one for many lanes, and one that takes over when few jobs are left
 *
 * The manager (manager.c) handles segments and padding, and gives jobs to lanes, the longest job first. Kernels
 * (arch/<isa>/) get pointers to whole blocks and know nothing else. Neither allocates memory. Nothing here runs in
 * constant time: the running time shows how long the messages are. */
#ifndef BATCHSEAL_MBSHA256_H
#define BATCHSEAL_MBSHA256_H

#include <stddef.h>
#include <stdint.h>

enum { MBSHA256_DIGEST_BYTES = 32, MBSHA256_BLOCK_BYTES = 64, MBSHA256_MAX_LANES = 16, MBSHA256_SCRATCH_ALIGN = 64 };

typedef enum {
    MBSHA256_OK = 0,
    MBSHA256_TOO_MANY_JOBS = 1, /* more than UINT32_MAX jobs */
    MBSHA256_TOO_LONG = 2,      /* a message has 2^61 bytes or more, which FIPS 180-4 section 1 does not allow */
} mbsha256_status;

typedef struct {
    const uint8_t *data; /* may be NULL if bytes is 0 */
    size_t bytes;
} mbsha256_segment;

/* The state between two bytes of a message. It is plain data: it can be kept, copied and continued later, also by another
 * engine (stream.h). */
typedef struct {
    uint32_t state[8]; /* after all whole blocks */
    uint64_t bytes;    /* of the message so far */
    uint8_t rest[MBSHA256_BLOCK_BYTES]; /* its last bytes % MBSHA256_BLOCK_BYTES bytes */
} mbsha256_stream;

typedef struct {
    const mbsha256_segment *segments;
    size_t segment_count;
    uint8_t *digest; /* out: MBSHA256_DIGEST_BYTES */
    uint64_t bytes;  /* out: length of the whole message */
    mbsha256_stream *kept; /* out: the state behind the first kept_segments segments; may be NULL */
    size_t kept_segments;  /* at most segment_count */
} mbsha256_job;

typedef struct mbsha256_engine mbsha256_engine;

/* Returns the first engine of an instruction set of cpu.h, or NULL for an unknown name. The caller must check that the
 * processor supports it. */
const mbsha256_engine *mbsha256_engine_find(const char *isa);

/* Returns the next engine of the same instruction set, or NULL. */
const mbsha256_engine *mbsha256_engine_next(const mbsha256_engine *engine);

/* As mbsha256_engine_find(), but measures which engine is the fastest on this processor, if there are several. That takes
 * less than 100 microseconds. */
const mbsha256_engine *mbsha256_engine_fastest(const char *isa);

/* Names the engine's kernels for people, such as "avx512 x16, draining to shani x4". */
const char *mbsha256_engine_kernel(const mbsha256_engine *engine);

/* How many bytes of scratch memory mbsha256_digest_many() needs. The memory must be aligned to
 * MBSHA256_SCRATCH_ALIGN. */
size_t mbsha256_scratch_bytes(size_t job_count);

/* Writes the digest of every job, or, on an error, of none. */
mbsha256_status mbsha256_digest_many(const mbsha256_engine *engine, mbsha256_job *jobs, size_t job_count,
                                     void *scratch);

#endif
