/* A small inflate, so that the planner needs neither the header of zlib nor the GIL, which Python's zlib would take. It
 * checks everything that it reads. */
#include "pdfscan/pdf_inflate.h"

#include <string.h>

enum { MAX_BITS = 15, FAST_BITS = 9, MAX_SYMBOLS = 288 };

/* Units of work. A block of dynamic codes costs the making of its tables, however few bytes it decodes. Bits that are read
 * cost more than bytes that are copied. */
enum { DYNAMIC_BLOCK_WORK = 512, BLOCK_WORK = 16, INPUT_WORK = 8, OUTPUT_BYTES_PER_WORK = 4 };

typedef struct {
    uint16_t fast[1 << FAST_BITS];  /* symbol << 4 | code length; 0 if the code is longer than FAST_BITS or not used */
    uint16_t count[MAX_BITS + 1];   /* number of codes of each length */
    uint16_t symbol[MAX_SYMBOLS];   /* symbols in canonical order */
} code_table;

typedef struct {
    const uint8_t *at, *end;
    uint64_t bits;
    unsigned have;    /* number of valid bits in `bits` */
    unsigned beyond;  /* number of zero bytes that were added after the end of the input */
} bit_reader;

static uint64_t eight_bytes(const uint8_t *at) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 8; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

/* Reads until at least 57 bits are there (56 where eight bytes are read at once, which is as good for all callers). After
 * the end of the input it adds zeros and counts them for ran_out(). */
static inline void refill(bit_reader *in) {
    if (in->end - in->at >= 8) {
        /* Bits above `have` may be set already: they are those of the same bytes. */
        in->bits |= eight_bytes(in->at) << in->have;
        unsigned bytes = (63 - in->have) / 8;
        in->at += bytes;
        in->have += bytes * 8;
        return;
    }
    while (in->have <= 56) {
        if (in->at < in->end)
            in->bits |= (uint64_t)*in->at++ << in->have;
        else
            in->beyond++;
        in->have += 8;
    }
}

static unsigned take(bit_reader *in, unsigned n) {
    unsigned value = (unsigned)(in->bits & ((1u << n) - 1));
    in->bits >>= n;
    in->have -= n;
    return value;
}

/* Whether more bits were used than the input has. */
static bool ran_out(const bit_reader *in) { return in->beyond * 8 > in->have; }

/* Makes a table from code lengths (RFC 1951 3.2.2). Returns false if there are too many codes; incomplete sets are
 * allowed. */
static bool build(code_table *table, const uint8_t *lengths, unsigned n) {
    uint16_t first[MAX_BITS + 2], next[MAX_BITS + 2];
    memset(table->count, 0, sizeof table->count);
    memset(table->fast, 0, sizeof table->fast);
    for (unsigned i = 0; i < n; i++) table->count[lengths[i]]++;
    table->count[0] = 0;
    int room = 1;
    unsigned code = 0, index = 0;
    for (unsigned length = 1; length <= MAX_BITS; length++) {
        room = room * 2 - table->count[length];
        if (room < 0) return false;
        next[length] = (uint16_t)code;
        first[length] = (uint16_t)index;
        code = (code + table->count[length]) << 1;
        index += table->count[length];
    }
    for (unsigned i = 0; i < n; i++) {
        unsigned length = lengths[i];
        if (!length) continue;
        table->symbol[first[length]++] = (uint16_t)i;
        unsigned value = next[length]++;
        if (length > FAST_BITS) continue;
        unsigned reversed = 0;
        for (unsigned b = 0; b < length; b++) reversed |= ((value >> b) & 1) << (length - 1 - b);
        for (; reversed < 1u << FAST_BITS; reversed += 1u << length)
            table->fast[reversed] = (uint16_t)(i << 4 | length);
    }
    return true;
}

/* Returns the next symbol, or -1 if the code is not assigned. */
static int decode(bit_reader *in, const code_table *table) {
    unsigned entry = table->fast[in->bits & ((1u << FAST_BITS) - 1)];
    if (entry) {
        take(in, entry & 15);
        return (int)(entry >> 4);
    }
    int code = 0, first = 0, index = 0;
    uint64_t bits = in->bits;
    for (unsigned length = 1; length <= MAX_BITS; length++) {
        code |= (int)(bits & 1);
        bits >>= 1;
        int count = table->count[length];
        if (code - count < first) {
            take(in, length);
            return table->symbol[index + (code - first)];
        }
        index += count;
        first = (first + count) << 1;
        code <<= 1;
    }
    return -1;
}

static const uint16_t LENGTH_BASE[29] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                         31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t LENGTH_EXTRA[29] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t DISTANCE_BASE[30] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                           193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
static const uint8_t DISTANCE_EXTRA[30] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                           6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};

typedef struct {
    bit_reader in;
    pdf_buffer *out;
    size_t start, limit;
    code_table literals, distances;
    code_table fixed_literals, fixed_distances;  /* made for the first block that needs them */
    bool has_fixed;
} inflater;

static pdf_inflate_status want(inflater *z, size_t more) {
    if (more > z->limit - (z->out->length - z->start)) return PDF_INFLATE_LIMIT;
    return pdf_reserve(z->out, more) ? PDF_INFLATE_DONE : PDF_INFLATE_MEMORY;
}

/* The length up to which bytes can be written without want(). */
static size_t writable(const inflater *z) {
    size_t limit = z->limit < SIZE_MAX - z->start ? z->start + z->limit : SIZE_MAX;
    return z->out->capacity < limit ? z->out->capacity : limit;
}

static pdf_inflate_status compressed_block(inflater *z, const code_table *literals, const code_table *distances) {
    bit_reader *in = &z->in;
    pdf_buffer *out = z->out;
    size_t stop = writable(z);
    for (;;) {
        if (in->have < 15 + 5 + 15 + 13) refill(in);
        int symbol = decode(in, literals);
        if (symbol < 0 || ran_out(in)) return PDF_INFLATE_CUT;
        if (symbol == 256) return PDF_INFLATE_DONE;
        pdf_inflate_status status = PDF_INFLATE_DONE;
        size_t most = symbol < 256 ? 1 : 258;
        if (most > stop - out->length) {
            status = want(z, most);
            stop = writable(z);
        }
        if (symbol < 256) {
            if (status) return status;
            out->bytes[out->length++] = (uint8_t)symbol;
            continue;
        }
        if (symbol > 285) return PDF_INFLATE_CUT;
        size_t length = LENGTH_BASE[symbol - 257] + take(in, LENGTH_EXTRA[symbol - 257]);
        if (status && (status = want(z, length))) return status;
        int code = decode(in, distances);  /* at most 48 bits in all since refill() */
        if (code < 0 || code > 29) return PDF_INFLATE_CUT;
        size_t distance = DISTANCE_BASE[code] + take(in, DISTANCE_EXTRA[code]);
        if (ran_out(in) || distance > out->length - z->start) return PDF_INFLATE_CUT;
        uint8_t *to = out->bytes + out->length;
        out->length += length;
        if (distance >= length) {
            memcpy(to, to - distance, length);
        } else {
            for (; length; length--, to++) *to = to[-(ptrdiff_t)distance];
        }
    }
}

static pdf_inflate_status stored_block(inflater *z) {
    bit_reader *in = &z->in;
    take(in, in->have & 7);
    refill(in);
    unsigned length = take(in, 16), complement = take(in, 16);
    if (ran_out(in) || length != (complement ^ 0xffff)) return PDF_INFLATE_CUT;
    size_t held = in->have / 8 - (in->beyond < in->have / 8 ? in->beyond : in->have / 8);
    in->at -= held;  /* gives back the whole bytes that were read ahead */
    in->bits = in->have = in->beyond = 0;
    size_t there = (size_t)(in->end - in->at);
    size_t n = length < there ? length : there;
    pdf_inflate_status status = want(z, n);
    if (status) return status;
    pdf_put(z->out, in->at, n);
    in->at += n;
    return n == length ? PDF_INFLATE_DONE : PDF_INFLATE_CUT;
}

/* Reads the two tables of a block with dynamic codes (RFC 1951 3.2.7). */
static bool dynamic_tables(inflater *z) {
    static const uint8_t ORDER[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    bit_reader *in = &z->in;
    uint8_t lengths[320] = {0};
    refill(in);
    unsigned n_literals = take(in, 5) + 257, n_distances = take(in, 5) + 1, n_codes = take(in, 4) + 4;
    if (n_literals > 286 || n_distances > 30) return false;
    for (unsigned i = 0; i < n_codes; i++) {
        if (in->have < 3) refill(in);
        lengths[ORDER[i]] = (uint8_t)take(in, 3);
    }
    if (!build(&z->literals, lengths, 19)) return false;
    memset(lengths, 0, 19);
    unsigned total = n_literals + n_distances;
    for (unsigned i = 0; i < total;) {
        if (in->have < 15 + 7) refill(in);
        int symbol = decode(in, &z->literals);
        if (symbol < 0 || ran_out(in)) return false;
        if (symbol < 16) {
            lengths[i++] = (uint8_t)symbol;
            continue;
        }
        if (symbol == 16 && i == 0) return false;
        uint8_t value = symbol == 16 ? lengths[i - 1] : 0;
        unsigned repeat = symbol == 16 ? 3 + take(in, 2) : symbol == 17 ? 3 + take(in, 3) : 11 + take(in, 7);
        if (repeat > total - i) return false;
        while (repeat--) lengths[i++] = value;
    }
    return build(&z->literals, lengths, n_literals) && build(&z->distances, lengths + n_literals, n_distances);
}

static void fixed_tables(inflater *z) {
    uint8_t lengths[MAX_SYMBOLS];
    if (z->has_fixed) return;
    z->has_fixed = true;
    for (unsigned i = 0; i < MAX_SYMBOLS; i++) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
    build(&z->fixed_literals, lengths, MAX_SYMBOLS);
    memset(lengths, 5, 30);
    build(&z->fixed_distances, lengths, 30);
}

static pdf_inflate_status next_block(inflater *z, unsigned type) {
    if (type == 0) return stored_block(z);
    if (type == 1) {
        fixed_tables(z);
        return compressed_block(z, &z->fixed_literals, &z->fixed_distances);
    }
    return type == 2 && dynamic_tables(z) ? compressed_block(z, &z->literals, &z->distances) : PDF_INFLATE_CUT;
}

/* Takes from `*work` what the input up to here and the output cost. Returns false if that is more than there was. */
static bool charge(size_t *work, size_t units) {
    bool enough = units <= *work;
    *work -= enough ? units : *work;
    return enough;
}

pdf_inflate_status pdf_inflate_zlib(const uint8_t *in, size_t in_bytes, size_t limit, size_t *work, pdf_buffer *out) {
    inflater z;
    if (in_bytes < 2 || (in[0] & 15) != 8 || (in[1] & 0x20)) return PDF_INFLATE_CUT;
    /* A single block may be as long as the input, so the input ends where the work would. */
    bool shortened = in_bytes > *work / INPUT_WORK;
    if (shortened) in_bytes = *work / INPUT_WORK;
    if (in_bytes < 2) return PDF_INFLATE_WORK;
    z.in = (bit_reader){.at = in + 2, .end = in + in_bytes};
    z.out = out, z.start = out->length, z.limit = limit, z.has_fixed = false;
    for (;;) {
        const uint8_t *from = z.in.at;
        size_t length = out->length;
        refill(&z.in);
        unsigned last = take(&z.in, 1), type = take(&z.in, 2);
        pdf_inflate_status status = next_block(&z, type);
        size_t units = INPUT_WORK * (size_t)(z.in.at > from ? z.in.at - from : 0) + (out->length - length) / OUTPUT_BYTES_PER_WORK;
        if (!charge(work, units + (type == 2 ? DYNAMIC_BLOCK_WORK : BLOCK_WORK))) return PDF_INFLATE_WORK;
        if (status == PDF_INFLATE_CUT && shortened) return PDF_INFLATE_WORK;
        if (status || last) return status;
    }
}
