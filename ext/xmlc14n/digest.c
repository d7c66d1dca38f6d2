/* Canonical forms into the lanes of mbsha256, or piece by piece through one stream. */
#define _GNU_SOURCE /* for MAP_ANONYMOUS */
#include "xmlc14n/digest.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#include "mbsha256/stream.h"
#include "xmlc14n/internal.h"

/* So many at once fill the lanes of the widest kernel. */
enum { MAX_WAITING = MBSHA256_MAX_LANES, ALIGN = 64 };
/* Pieces of a stream stay in the cache of the processor between being written and being read. */
enum { PIECE_BYTES = 4 * XMLC14N_ROOM };
/* A canonical form is begun only where this much is left of the buffer. */
enum { LEAST_LEFT = 256 << 10 };
/* What the results of one call may hold, as long as each does. */
enum { RESULT_BYTES = 4 << 20 };

typedef struct {
    const mbsha256_engine *engine;
    mbsha256_job waiting[MAX_WAITING];
    mbsha256_segment segments[MAX_WAITING];
    size_t waiting_count;
    size_t used; /* of the buffer, by those that wait */
    xmlc14n_job *current;
    bool streams;
    mbsha256_stream stream;
    uint8_t *buffer;
    void *scratch;
} batch;

static size_t aligned(size_t n) { return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

/* The batch, its scratch and its buffer are one block. */
static size_t block_bytes(void) {
    return aligned(sizeof(batch)) + aligned(mbsha256_scratch_bytes(MAX_WAITING)) + XMLC14N_BUFFER_BYTES;
}

/* The block is a memory mapping of its own. A block of this size that is freed in the heap of the C library makes that heap
 * raise the size from which on it maps blocks by itself. Blocks of this size would then come from the heap, and leave large
 * holes between small blocks that stay (mallopt(3), M_MMAP_THRESHOLD). */
#ifdef __linux__
static void *new_block(void) {
    void *block = mmap(NULL, block_bytes(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

static void free_batch(void *block) { munmap(block, block_bytes()); }
#else
static void *new_block(void) { return aligned_alloc(ALIGN, aligned(block_bytes())); }

static void free_batch(void *block) { free(block); }
#endif

static batch *batch_of(xmlc14n *c) {
    if (c->batch) return c->batch;
    uint8_t *block = new_block();
    if (!block) return NULL;
    batch *b = (batch *)block;
    memset(b, 0, sizeof *b);
    b->scratch = block + aligned(sizeof(batch));
    b->buffer = block + block_bytes() - XMLC14N_BUFFER_BYTES;
    c->batch = b;
    c->free_batch = free_batch;
    return b;
}

static void digest_waiting(batch *b) {
    if (b->waiting_count) mbsha256_digest_many(b->engine, b->waiting, b->waiting_count, b->scratch); /* they are short */
    b->waiting_count = 0;
    b->used = 0;
}

/* The buffer is full. Those that wait leave first; if that is not enough, this one goes on as a stream. */
static xmlc14n_status make_room(xmlc14n_output *out) {
    batch *b = out->context;
    xmlc14n_job *job = b->current;
    if (job->sink) {
        if (!job->sink(job->context, out->bytes, out->used)) return XMLC14N_OUTPUT;
        out->used = 0;
        return XMLC14N_OK;
    }
    if (b->waiting_count) {
        digest_waiting(b);
        memmove(b->buffer, out->bytes, out->used);
        out->bytes = b->buffer;
        out->capacity = XMLC14N_BUFFER_BYTES;
    }
    if (out->capacity - out->used < XMLC14N_ROOM) {
        if (!b->streams) mbsha256_stream_begin(&b->stream);
        b->streams = true;
        mbsha256_stream_add(b->engine, &b->stream, out->bytes, out->used);
        out->used = 0;
        out->capacity = PIECE_BYTES;
    }
    return XMLC14N_OK;
}

static void run_one(xmlc14n *c, batch *b, xmlc14n_job *job) {
    if (b->waiting_count == MAX_WAITING || XMLC14N_BUFFER_BYTES - b->used < LEAST_LEFT) digest_waiting(b);
    b->current = job;
    b->streams = false;
    xmlc14n_output out = {b->buffer + b->used, 0, XMLC14N_BUFFER_BYTES - b->used, make_room, b};
    xmlc14n_run(c, job->document, &job->options, &out, &job->result);
    if (job->result.status != XMLC14N_OK) return;
    if (job->sink) {
        if (!job->sink(job->context, out.bytes, out.used)) job->result.status = XMLC14N_OUTPUT;
    } else if (b->streams) {
        mbsha256_stream_add(b->engine, &b->stream, out.bytes, out.used);
        mbsha256_stream_digest(b->engine, &b->stream, job->digest);
    } else {
        size_t at = b->waiting_count++;
        b->segments[at] = (mbsha256_segment){out.bytes, out.used};
        b->waiting[at] = (mbsha256_job){.segments = &b->segments[at], .segment_count = 1, .digest = job->digest};
        b->used = (size_t)(out.bytes - b->buffer) + ((out.used + ALIGN - 1) & ~(size_t)(ALIGN - 1));
    }
}

size_t xmlc14n_digest_many(xmlc14n *c, const mbsha256_engine *engine, xmlc14n_job *jobs, size_t count) {
    batch *b = batch_of(c);
    size_t done = 0;
    if (!b) {
        for (; done < count; done++) jobs[done].result = (xmlc14n_result){.status = XMLC14N_MEMORY};
        return count;
    }
    b->engine = engine;
    do run_one(c, b, &jobs[done++]);
    while (done < count && xmlc14n_held_bytes(c) < RESULT_BYTES);
    digest_waiting(b);
    return done;
}
