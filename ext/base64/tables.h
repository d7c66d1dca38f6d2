/* What the wide kernels share; tables have 16 entries, for a 128-bit lane. */
#ifndef BATCHSEAL_BASE64_TABLES_H
#define BATCHSEAL_BASE64_TABLES_H

/* The processor's own prefetching ends at a page, and bodies are seldom in its caches: a page ahead, decoding from
 * memory gains a quarter (AVX2 decoding) to two thirds (AVX-512). Prefetching beyond the end does no harm. */
#define PREFETCH_BYTES 4096

/* Decoding. Characters fall into classes by their high nibble: 2 ('+', '/') is bit 0, 3 (digits) bit 1, 4 and 6 (A-O,
 * a-o) bit 2, 5 and 7 (P-Z, p-z) bit 3, all others bit 4. CLASS_REFUSES says, by low nibble, which classes lack that
 * character. */
#define CLASS_OF_HIGH 16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16
#define CLASS_REFUSES 0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a
/* What to add to a character to get its value, by high nibble; '/' takes the entry below its own. */
#define ADD_BY_HIGH 0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0
/* The bytes of four 24-bit numbers, each in 32 bits, highest first. */
#define THREE_OF_FOUR 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1

/* Encoding. A triple abc becomes the words (b | a << 8), (c | b << 8): each sextet lies whole in one of them. */
#define TRIPLES_TO_WORDS 1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10
/* What to add to a value to get its character: row 0 for 26..51, 1..10 for 52..61, 11 for 62,
 * 12 for 63, 13 for 0..25. */
#define ADD_BY_ROW 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0

#endif
