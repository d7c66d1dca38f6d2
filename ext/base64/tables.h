/* Constants that the AVX2 and AVX-512 kernels share. Each table has 16 entries, one for each byte of a 128-bit lane. */
#ifndef BATCHSEAL_BASE64_TABLES_H
#define BATCHSEAL_BASE64_TABLES_H

/* How far ahead the kernels prefetch. The processor's own prefetching stops at the end of a page, and the body of a
 * request is rarely in its caches. With a distance of one page, decoding from memory is a quarter (AVX2) to two thirds
 * (AVX-512) faster. Prefetching behind the end of the data is harmless. */
#define PREFETCH_BYTES 4096

/* Decoding. The high nibble of a character gives its class, which is one bit: high nibble 2 ('+' and '/') is bit 0, 3
 * (digits) is bit 1, 4 and 6 (A-O, a-o) are bit 2, 5 and 7 (P-Z, p-z) are bit 3, and all others are bit 4.
 * CLASS_REFUSES has, for each low nibble, the bits of the classes in which no character of the alphabet has that low
 * nibble. */
#define CLASS_OF_HIGH 16, 16, 1, 2, 4, 8, 4, 8, 16, 16, 16, 16, 16, 16, 16, 16
#define CLASS_REFUSES 0x15, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x13, 0x1a, 0x1b, 0x1b, 0x1b, 0x1a
/* The number to add to a character to get its value, for each high nibble. '/' uses the entry before its own. */
#define ADD_BY_HIGH 0, 16, 19, 4, -65, -65, -71, -71, 0, 0, 0, 0, 0, 0, 0, 0
/* Selects the three bytes of each of four 24-bit numbers that are stored in 32 bits, highest byte first. */
#define THREE_OF_FOUR 2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1

/* Encoding. Three bytes a, b, c become the 16-bit words (b | a << 8) and (c | b << 8). Each 6-bit value is then
 * complete inside one word. */
#define TRIPLES_TO_WORDS 1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10
/* The number to add to a value to get its character: row 0 is for the values 26 to 51, rows 1 to 10 for 52 to 61, row
 * 11 for 62, row 12 for 63, and row 13 for 0 to 25. */
#define ADD_BY_ROW 71, -4, -4, -4, -4, -4, -4, -4, -4, -4, -4, -19, -16, 65, 0, 0

#endif
