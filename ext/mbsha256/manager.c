/* Gives jobs to the lanes of a kernel, feeds it with blocks, and hands over to the next kernel when few jobs are
 * left. */
#include <stdbool.h>
#include <string.h>

#include "mbsha256/engines.h"

enum { BLOCK = MBSHA256_BLOCK_BYTES, LENGTH_BYTES = 8 };

static const uint64_t MAX_BYTES = UINT64_C(1) << 61; /* exclusive, because the length in bits must fit into 64 bits */

typedef struct {
    const mbsha256_job *job;
    const uint8_t *run; /* whole blocks that are contiguous in memory: in a segment, or in staging */
    size_t run_blocks;
    const uint8_t *rest; /* what follows the run in the current segment */
    size_t rest_bytes;
    size_t next_segment;
    uint64_t blocks_left; /* of the whole job, including the run */
    uint64_t kept_left;   /* how many blocks are left where the state is kept; 0: it is not, or has been */
    bool padded;
    uint32_t state[8];          /* used only while the lane is parked */
    uint8_t staging[2 * BLOCK]; /* a block that spans segments, or the last blocks with their padding */
} lane;

typedef struct {
    _Alignas(MBSHA256_SCRATCH_ALIGN) uint32_t state[8 * MBSHA256_MAX_LANES]; /* of the busy lanes, see kernel.h */
    const mbsha256_kernel *kernel;
    mbsha256_job *jobs;
    lane *busy[MBSHA256_MAX_LANES];   /* in the kernel's lanes 0 .. busy_count - 1 */
    lane *parked[MBSHA256_MAX_LANES]; /* begun by the kernel before and waiting for a lane, shortest job first */
    size_t busy_count, parked_count;
    size_t waiting; /* number of jobs in the queue; 0 while a lane is parked */
    lane lanes[MBSHA256_MAX_LANES];
    uint32_t queue[]; /* binary heap of job indexes, the longest job at the top */
} manager;

size_t mbsha256_scratch_bytes(size_t job_count) { return sizeof(manager) + job_count * sizeof(uint32_t); }

static uint64_t job_blocks(const mbsha256_job *job) { return (job->bytes + 1 + LENGTH_BYTES + BLOCK - 1) / BLOCK; }

/* --- queue ------------------------------------------------------------------------------------------------------- */

static void sift_down(manager *m, size_t at) {
    uint32_t moving = m->queue[at];
    for (size_t child; (child = 2 * at + 1) < m->waiting; at = child) {
        if (child + 1 < m->waiting && m->jobs[m->queue[child + 1]].bytes > m->jobs[m->queue[child]].bytes) child++;
        if (m->jobs[m->queue[child]].bytes <= m->jobs[moving].bytes) break;
        m->queue[at] = m->queue[child];
    }
    m->queue[at] = moving;
}

static void fill_queue(manager *m, size_t job_count) {
    m->waiting = job_count;
    for (size_t i = 0; i < job_count; i++) m->queue[i] = (uint32_t)i;
    for (size_t i = job_count / 2; i-- > 0;) sift_down(m, i);
}

static const mbsha256_job *take_longest(manager *m) {
    const mbsha256_job *job = &m->jobs[m->queue[0]];
    m->queue[0] = m->queue[--m->waiting];
    if (m->waiting > 0) {
        sift_down(m, 0);
        const mbsha256_job *following = &m->jobs[m->queue[0]];
        if (following->segment_count > 0) { /* prefetch its first cache lines while this job is compressed */
            for (size_t line = 0; line < 4; line++) __builtin_prefetch(following->segments[0].data + line * BLOCK);
        }
    }
    return job;
}

/* --- one lane ---------------------------------------------------------------------------------------------------- */

/* Copies up to one block from the segments into staging. Returns the number of bytes. */
static size_t stage_bytes(lane *l) {
    size_t staged = 0;
    while (staged < BLOCK) {
        if (l->rest_bytes == 0) {
            if (l->next_segment == l->job->segment_count) break;
            const mbsha256_segment *segment = &l->job->segments[l->next_segment++];
            l->rest = segment->data;
            l->rest_bytes = segment->bytes;
            continue;
        }
        size_t take = l->rest_bytes < BLOCK - staged ? l->rest_bytes : BLOCK - staged;
        memcpy(l->staging + staged, l->rest, take);
        staged += take;
        l->rest += take;
        l->rest_bytes -= take;
    }
    return staged;
}

/* Adds the padding (FIPS 180-4 5.1.1): a one bit, zeros, and the length in bits. Returns the number of blocks, 1 or
 * 2. */
static size_t pad(lane *l, size_t staged) {
    size_t blocks = staged + 1 + LENGTH_BYTES <= BLOCK ? 1 : 2;
    uint64_t bits = l->job->bytes * 8;
    uint8_t *end = l->staging + blocks * BLOCK;
    l->staging[staged] = 0x80;
    memset(l->staging + staged + 1, 0, blocks * BLOCK - staged - 1);
    for (int i = 1; i <= LENGTH_BYTES; i++, bits >>= 8) end[-i] = (uint8_t)bits;
    return blocks;
}

/* Finds the next run of a lane that has used up its run. Returns false at the end of the job. */
static bool next_run(lane *l) {
    if (l->padded) return false;
    while (l->rest_bytes == 0 && l->next_segment < l->job->segment_count) {
        const mbsha256_segment *segment = &l->job->segments[l->next_segment++];
        l->rest = segment->data;
        l->rest_bytes = segment->bytes;
    }
    if (l->rest_bytes >= BLOCK) {
        l->run = l->rest;
        l->run_blocks = l->rest_bytes / BLOCK;
        /* A run ends where the state is kept. The last block of a job is behind that, so it is not padded by then. */
        if (l->kept_left && l->run_blocks > l->blocks_left - l->kept_left) l->run_blocks = (size_t)(l->blocks_left - l->kept_left);
        l->rest += l->run_blocks * BLOCK;
        l->rest_bytes -= l->run_blocks * BLOCK;
        return true;
    }
    size_t staged = stage_bytes(l);
    l->run = l->staging;
    l->run_blocks = 1;
    if (staged < BLOCK) {
        l->run_blocks = pad(l, staged);
        l->padded = true;
    }
    return true;
}

static void store_state(manager *m, size_t at, const uint32_t words[8]) {
    uint32_t *state = m->state + at * m->kernel->lane_stride;
    for (size_t w = 0; w < 8; w++) state[w * m->kernel->word_stride] = words[w];
}

static void load_state(const manager *m, size_t at, uint32_t words[8]) {
    const uint32_t *state = m->state + at * m->kernel->lane_stride;
    for (size_t w = 0; w < 8; w++) words[w] = state[w * m->kernel->word_stride];
}

/* Copies the last bytes of the first kept_segments segments, those that do not fill a block. */
static void keep_rest(const mbsha256_job *job) {
    mbsha256_stream *kept = job->kept;
    size_t missing = kept->bytes % BLOCK;
    for (size_t i = job->kept_segments; missing > 0; i--) {
        const mbsha256_segment *segment = &job->segments[i - 1];
        size_t take = segment->bytes < missing ? segment->bytes : missing;
        missing -= take;
        if (take) memcpy(kept->rest + missing, segment->data + segment->bytes - take, take);
    }
}

/* Keeps the state if the job in kernel lane `at` has come to where it is wanted. */
static void keep_state(const manager *m, size_t at) {
    lane *l = m->busy[at];
    if (!l->kept_left || l->blocks_left != l->kept_left) return;
    load_state(m, at, l->job->kept->state);
    keep_rest(l->job);
    l->kept_left = 0;
}

/* --- all lanes ---------------------------------------------------------------------------------------------------- */

static void start_job(manager *m, size_t at) {
    lane *l = m->busy[at];
    l->job = take_longest(m);
    l->blocks_left = job_blocks(l->job);
    l->kept_left = l->job->kept ? l->blocks_left - l->job->kept->bytes / BLOCK : 0;
    l->rest_bytes = 0;
    l->next_segment = 0;
    l->padded = false;
    store_state(m, at, mbsha256_initial_state);
    keep_state(m, at);
    next_run(l); /* never false here, because every job has a block with padding */
}

static void finish_job(const manager *m, size_t at) {
    uint32_t words[8];
    load_state(m, at, words);
    uint8_t *out = m->busy[at]->job->digest;
    for (size_t w = 0; w < 8; w++, out += 4) {
        out[0] = (uint8_t)(words[w] >> 24);
        out[1] = (uint8_t)(words[w] >> 16);
        out[2] = (uint8_t)(words[w] >> 8);
        out[3] = (uint8_t)words[w];
    }
}

static void unpark(manager *m, size_t at) {
    m->busy[at] = m->parked[--m->parked_count];
    store_state(m, at, m->busy[at]->state);
}

/* The job in kernel lane `at` is finished: gives the lane the next job. If none is left, the last busy lane moves
 * here. */
static void refill(manager *m, size_t at) {
    if (m->parked_count > 0) {
        unpark(m, at);
    } else if (m->waiting > 0) {
        start_job(m, at);
    } else if (at != --m->busy_count) {
        uint32_t words[8];
        load_state(m, m->busy_count, words);
        store_state(m, at, words);
        m->busy[at] = m->busy[m->busy_count];
    }
}

/* Calls the kernel once, with as many blocks as the shortest run of a busy lane has. */
static void step(manager *m) {
    const uint8_t *data[MBSHA256_MAX_LANES];
    size_t blocks = m->busy[0]->run_blocks;
    for (size_t i = 0; i < m->busy_count; i++) {
        data[i] = m->busy[i]->run;
        if (m->busy[i]->run_blocks < blocks) blocks = m->busy[i]->run_blocks;
    }
    for (size_t i = m->busy_count; i < m->kernel->lanes; i++) data[i] = data[0];
    m->kernel->compress(m->state, data, m->busy_count, blocks);

    for (size_t i = m->busy_count; i-- > 0;) { /* downwards, because refill() may move the last busy lane to i */
        lane *l = m->busy[i];
        l->run += blocks * BLOCK;
        l->run_blocks -= blocks;
        l->blocks_left -= blocks;
        if (l->run_blocks > 0) continue;
        keep_state(m, i);
        if (next_run(l)) continue;
        finish_job(m, i);
        refill(m, i);
    }
}

/* Moves the lanes from one kernel to the next. Those with the most blocks left get a lane first. */
static void enter_stage(manager *m, const mbsha256_kernel *kernel) {
    for (size_t i = 0; i < m->busy_count; i++) {
        lane *l = m->busy[i];
        load_state(m, i, l->state);
        size_t at = m->parked_count++;
        for (; at > 0 && m->parked[at - 1]->blocks_left > l->blocks_left; at--) m->parked[at] = m->parked[at - 1];
        m->parked[at] = l;
    }
    m->kernel = kernel;
    for (m->busy_count = 0; m->parked_count > 0 && m->busy_count < kernel->lanes; m->busy_count++) {
        unpark(m, m->busy_count);
    }
}

static mbsha256_status measure(mbsha256_job *jobs, size_t job_count) {
    if (job_count > UINT32_MAX) return MBSHA256_TOO_MANY_JOBS;
    for (size_t i = 0; i < job_count; i++) {
        uint64_t bytes = 0;
        if (jobs[i].kept) jobs[i].kept->bytes = 0;
        for (size_t s = 0; s < jobs[i].segment_count; s++) {
            if (jobs[i].segments[s].bytes >= MAX_BYTES - bytes) return MBSHA256_TOO_LONG;
            bytes += jobs[i].segments[s].bytes;
            if (jobs[i].kept && s < jobs[i].kept_segments) jobs[i].kept->bytes = bytes;
        }
        jobs[i].bytes = bytes;
    }
    return MBSHA256_OK;
}

mbsha256_status mbsha256_digest_many(const mbsha256_engine *engine, mbsha256_job *jobs, size_t job_count,
                                     void *scratch) {
    mbsha256_status status = measure(jobs, job_count);
    if (status != MBSHA256_OK) return status;

    manager *m = scratch;
    m->jobs = jobs;
    m->kernel = engine->stages[0].kernel;
    m->parked_count = 0;
    fill_queue(m, job_count);
    for (m->busy_count = 0; m->waiting > 0 && m->busy_count < m->kernel->lanes; m->busy_count++) {
        m->busy[m->busy_count] = &m->lanes[m->busy_count];
        start_job(m, m->busy_count);
    }
    for (const mbsha256_stage *stage = engine->stages; m->busy_count > 0; stage++) {
        if (stage->kernel != m->kernel) enter_stage(m, stage->kernel);
        while (m->waiting + m->parked_count > 0 || m->busy_count >= stage->min_lanes) step(m);
    }
    return MBSHA256_OK;
}
