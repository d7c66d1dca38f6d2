/* The document buffers, their cache, and how they get memory from the system. */
#define _GNU_SOURCE /* for mremap() */
#include "jsonscan/docbuffer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define MIN_CLASS 12 /* 4 KiB */
#define MAX_CLASS 25 /* 32 MiB; larger buffers are not cached */
/* A buffer of this size or more is a memory mapping of its own. It can be given back to the system as a whole, and
 * leaves no holes in the heap. */
#define MAPPED_FROM ((size_t)128 << 10)
#define HUGE_FROM ((size_t)4 << 20)

static struct {
    pthread_mutex_t lock;
    docbuffer *free[MAX_CLASS + 1]; /* one list for each log2 of the capacity */
    size_t cached_bytes, limit, live;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER, .limit = (size_t)32 << 20};

static unsigned class_of(size_t capacity) {
    unsigned class = MIN_CLASS;
    while (class < 8 * sizeof(size_t) - 1 && ((size_t)1 << class) < capacity) class++;
    return class;
}

#ifdef __linux__
static bool is_mapped(size_t capacity) { return capacity >= MAPPED_FROM; }

/* Asks for pages of 2 MiB. Touching one for the first time costs a fraction of touching 512 small pages. The system may
 * ignore this. */
static void advise(void *data, size_t capacity) {
    if (capacity >= HUGE_FROM) madvise(data, capacity, MADV_HUGEPAGE);
}

static uint8_t *block_new(size_t capacity) {
    if (!is_mapped(capacity)) return malloc(capacity);
    void *data = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) return NULL;
    advise(data, capacity);
    return data;
}

static void block_free(uint8_t *data, size_t capacity) {
    if (is_mapped(capacity)) munmap(data, capacity);
    else free(data);
}

/* Moves the pages of a mapping. A block from the heap is copied into its first mapping. */
static uint8_t *block_grow(uint8_t *data, size_t used, size_t from, size_t to) {
    if (!is_mapped(to)) return realloc(data, to);
    if (is_mapped(from)) {
        void *moved = mremap(data, from, to, MREMAP_MAYMOVE);
        if (moved == MAP_FAILED) return NULL;
        advise(moved, to);
        return moved;
    }
    uint8_t *fresh = block_new(to);
    if (!fresh) return NULL;
    memcpy(fresh, data, used);
    free(data);
    return fresh;
}
#else
static uint8_t *block_new(size_t capacity) { return malloc(capacity); }
static void block_free(uint8_t *data, size_t capacity) { (void)capacity, free(data); }
static uint8_t *block_grow(uint8_t *data, size_t used, size_t from, size_t to) {
    (void)used, (void)from;
    return realloc(data, to);
}
#endif

/* The caller must hold the lock. */
static docbuffer *take_cached(unsigned class) {
    docbuffer *b = class <= MAX_CLASS ? cache.free[class] : NULL;
    if (b) {
        cache.free[class] = b->next;
        cache.cached_bytes -= b->capacity;
    }
    return b;
}

docbuffer *docbuffer_new(size_t capacity) {
    unsigned class = class_of(capacity);
    pthread_mutex_lock(&cache.lock);
    docbuffer *b = take_cached(class);
    if (!b) b = take_cached(class + 1); /* twice as large, but its pages exist already */
    if (b) cache.live++;
    pthread_mutex_unlock(&cache.lock);
    if (b) {
        b->used = 0;
        return b;
    }
    b = malloc(sizeof *b);
    if (!b) return NULL;
    *b = (docbuffer){.capacity = (size_t)1 << class};
    b->data = block_new(b->capacity);
    if (!b->data) {
        free(b);
        return NULL;
    }
    pthread_mutex_lock(&cache.lock);
    cache.live++;
    pthread_mutex_unlock(&cache.lock);
    return b;
}

static void exchange_blocks(docbuffer *a, docbuffer *b) {
    docbuffer kept = *a;
    memcpy(b->data, a->data, a->used);
    a->data = b->data;
    a->capacity = b->capacity;
    b->data = kept.data;
    b->capacity = kept.capacity;
}

bool docbuffer_grow(docbuffer *b, size_t capacity) {
    if (capacity <= b->capacity) return true;
    unsigned class = class_of(capacity);
    pthread_mutex_lock(&cache.lock);
    docbuffer *larger = take_cached(class);
    if (larger) cache.live++;
    pthread_mutex_unlock(&cache.lock);
    if (larger) {
        exchange_blocks(b, larger);
        docbuffer_free(larger);
        return true;
    }
    capacity = (size_t)1 << class;
    uint8_t *data = block_grow(b->data, b->used, b->capacity, capacity);
    if (!data) return false;
    b->data = data;
    b->capacity = capacity;
    return true;
}

docbuffer *docbuffer_fit(docbuffer *b) {
    if (b->used >= b->capacity / 4 || b->capacity == (size_t)1 << MIN_CLASS) return b;
    docbuffer *smaller = docbuffer_new(b->used);
    if (!smaller) return b;
    if (smaller->capacity < b->capacity) exchange_blocks(b, smaller);
    docbuffer_free(smaller);
    return b;
}

static void destroy(docbuffer *b) {
    block_free(b->data, b->capacity);
    free(b);
}

void docbuffer_free(docbuffer *b) {
    if (!b) return;
    unsigned class = class_of(b->capacity);
    pthread_mutex_lock(&cache.lock);
    cache.live--;
    bool keep = class <= MAX_CLASS && cache.cached_bytes + b->capacity <= cache.limit;
    if (keep) {
        b->next = cache.free[class];
        cache.free[class] = b;
        cache.cached_bytes += b->capacity;
    }
    pthread_mutex_unlock(&cache.lock);
    if (!keep) destroy(b);
}

static size_t read_locked(const size_t *field) {
    pthread_mutex_lock(&cache.lock);
    size_t value = *field;
    pthread_mutex_unlock(&cache.lock);
    return value;
}

size_t docbuffer_live(void) { return read_locked(&cache.live); }
size_t docbuffer_cached_bytes(void) { return read_locked(&cache.cached_bytes); }
size_t docbuffer_cache_limit(void) { return read_locked(&cache.limit); }

void docbuffer_set_cache(size_t bytes) {
    pthread_mutex_lock(&cache.lock);
    cache.limit = bytes;
    for (unsigned class = MAX_CLASS; class >= MIN_CLASS; class--) {
        while (cache.cached_bytes > bytes && cache.free[class]) destroy(take_cached(class));
    }
    pthread_mutex_unlock(&cache.lock);
}
