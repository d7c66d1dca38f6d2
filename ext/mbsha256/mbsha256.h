/* SHA-256 (FIPS 180-4) of many messages at once.
 *
 *   segment   bytes somewhere in memory, of any length and alignment, also none
 *   job       one message: segments read one after another as if joined, which they never are
 *   lane      one job in progress; a kernel works on all its lanes at the same time
 *   kernel    compresses blocks of 64 bytes, for 1 (portable), 4 (SHA-NI), 8 (AVX2) or 16 (AVX-512) lanes
 *   engine    what one instruction set uses: a kernel for many lanes, and one that it drains into as lanes run out
 *
 * The manager (manager.c) knows segments, padding and which job goes into which lane, longest first; kernels
 * (arch/<isa>/) see nothing but pointers to whole blocks. Neither allocates. Nothing here is secret-independent in
 * time: lengths show.
 */
#ifndef BATCHSEAL_MBSHA256_H
#define BATCHSEAL_MBSHA256_H

#include <stddef.h>
#include <stdint.h>

enum { MBSHA256_DIGEST_BYTES = 32, MBSHA256_BLOCK_BYTES = 64, MBSHA256_MAX_LANES = 16, MBSHA256_SCRATCH_ALIGN = 64 };

typedef enum {
    MBSHA256_OK = 0,
    MBSHA256_TOO_MANY_JOBS = 1, /* more than UINT32_MAX */
    MBSHA256_TOO_LONG = 2,      /* a message of 2^61 bytes or more: its length in bits does not fit (FIPS 180-4 1) */
} mbsha256_status;

typedef struct {
    const uint8_t *data; /* may be NULL if bytes is 0 */
    size_t bytes;
} mbsha256_segment;

typedef struct {
    const mbsha256_segment *segments;
    size_t segment_count;
    uint8_t *digest; /* out: MBSHA256_DIGEST_BYTES */
    uint64_t bytes;  /* out: length of the message */
} mbsha256_job;

typedef struct mbsha256_engine mbsha256_engine;

/* The engine of an instruction set of cpu.h, NULL if there is none. The caller checks that the processor has it. */
const mbsha256_engine *mbsha256_engine_find(const char *isa);

/* The name of its kernels, for people: "avx512 x16, draining to shani x4". */
const char *mbsha256_engine_kernel(const mbsha256_engine *engine);

/* Scratch that mbsha256_digest_many needs for so many jobs; to be aligned to MBSHA256_SCRATCH_ALIGN. */
size_t mbsha256_scratch_bytes(size_t job_count);

/* Writes the digest of every job. On an error no digest is written. */
mbsha256_status mbsha256_digest_many(const mbsha256_engine *engine, mbsha256_job *jobs, size_t job_count,
                                     void *scratch);

#endif
