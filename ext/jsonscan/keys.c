/* Keeps the unescaped keys of the open objects in one arena, and finds duplicates. Each key is a header and its bytes,
 * padded to a multiple of 4. An object with few keys is searched from the first to the last; from TABLE_FROM keys on it
 * gets a table. The limit of the skeleton also bounds the arena. */
#include "jsonscan/internal.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_FROM 16

typedef struct {
    uint32_t bytes;
    uint32_t fingerprint;
} entry;

static entry *entry_at(const jsonscan *s, size_t position) { return (entry *)(void *)(s->keys.data + position); }
static const uint8_t *entry_key(const entry *e) { return (const uint8_t *)(e + 1); }
static size_t entry_size(uint32_t bytes) { return (sizeof(entry) + bytes + 3) & ~(size_t)3; }

/* Multiplies by a secret number and folds the product. Without the seed nobody can choose keys with equal
 * fingerprints. */
static uint32_t fingerprint(const jsonscan *s, const uint8_t *key, size_t n) {
    uint64_t state = s->seed[0] ^ n;
    for (size_t at = 0; at < n; at += 8) {
        uint64_t word = 0;
        memcpy(&word, key + at, n - at < 8 ? n - at : 8);
        unsigned __int128 product = (unsigned __int128)(state ^ word) * (s->seed[1] | 1);
        state = (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    return (uint32_t)(state ^ state >> 32);
}

bool keys_begin(jsonscan *s) {
    s->open_key = s->keys.used;
    return text_append(&s->keys, &(entry){0}, sizeof(entry));
}

bool keys_add(jsonscan *s, const uint8_t *bytes, size_t n) { return text_append(&s->keys, bytes, n); }

static bool same(const jsonscan *s, size_t position, const entry *open) {
    const entry *e = entry_at(s, position);
    return e->fingerprint == open->fingerprint && e->bytes == open->bytes &&
           !memcmp(entry_key(e), entry_key(open), e->bytes);
}

static void table_add(const jsonscan *s, frame *f, size_t position) {
    uint32_t slot = entry_at(s, position)->fingerprint & f->table_mask;
    while (f->table[slot]) slot = (slot + 1) & f->table_mask;
    f->table[slot] = (uint32_t)position + 1;
}

/* Makes the table, or one of twice the size, and adds the keys of the object that are before `end`. */
static bool table_build(jsonscan *s, frame *f, size_t end) {
    uint32_t slots = f->table ? (f->table_mask + 1) * 2 : TABLE_FROM * 4;
    free(f->table);
    f->table = calloc(slots, sizeof *f->table);
    f->table_mask = slots - 1;
    if (!f->table) return false;
    for (size_t at = f->keys; at < end; at += entry_size(entry_at(s, at)->bytes)) table_add(s, f, at);
    return true;
}

static bool is_duplicate(const jsonscan *s, const frame *f, const entry *open) {
    if (f->table) {
        for (uint32_t slot = open->fingerprint & f->table_mask; f->table[slot]; slot = (slot + 1) & f->table_mask)
            if (same(s, f->table[slot] - 1, open)) return true;
        return false;
    }
    for (size_t at = f->keys; at < s->open_key; at += entry_size(entry_at(s, at)->bytes))
        if (same(s, at, open)) return true;
    return false;
}

keys_status keys_end(jsonscan *s) {
    frame *f = scan_top(s);
    size_t bytes = s->keys.used - s->open_key - sizeof(entry);
    bool stored = text_append(&s->keys, "\0\0\0", entry_size((uint32_t)bytes) - sizeof(entry) - bytes);
    entry *open = entry_at(s, s->open_key);
    open->bytes = (uint32_t)bytes;
    open->fingerprint = fingerprint(s, entry_key(open), bytes);
    if (is_duplicate(s, f, open)) return KEYS_DUPLICATE;
    /* The table must stay at least half empty. */
    bool full = f->table ? f->key_count * 2 > f->table_mask : f->key_count >= TABLE_FROM;
    if (!stored || (full && !table_build(s, f, s->open_key))) return KEYS_NO_MEMORY;
    if (f->table) table_add(s, f, s->open_key);
    f->key_count++;
    f->key = s->open_key;
    f->in_child = true;
    return KEYS_ADDED;
}

static const uint8_t *key_at(const jsonscan *s, size_t position, size_t *n) {
    const entry *e = entry_at(s, position);
    *n = e->bytes;
    return entry_key(e);
}

const uint8_t *keys_open(const jsonscan *s, size_t *n) { return key_at(s, s->open_key, n); }

const uint8_t *keys_current(const jsonscan *s, const frame *f, size_t *n) { return key_at(s, f->key, n); }

bool keys_current_is(const jsonscan *s, const frame *f, const char *name) {
    size_t n;
    const uint8_t *key = keys_current(s, f, &n);
    return n == strlen(name) && !memcmp(key, name, n);
}

void keys_close(jsonscan *s, frame *f) {
    s->keys.used = f->keys;
    free(f->table);
    f->table = NULL;
}
