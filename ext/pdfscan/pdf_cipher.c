/* RC4, AES-CBC (FIPS 197, SP 800-38A 6.2) and MD5 (RFC 1321), small and portable. */
#include "pdfscan/pdf_cipher.h"

#include <string.h>

void pdf_rc4(const uint8_t *key, size_t key_bytes, const uint8_t *in, size_t n, uint8_t *out) {
    uint8_t state[256], i = 0, j = 0;
    for (unsigned k = 0; k < 256; k++) state[k] = (uint8_t)k;
    for (unsigned k = 0; k < 256; k++) {
        uint8_t kept = state[k];
        j = (uint8_t)(j + kept + key[k % key_bytes]);
        state[k] = state[j];
        state[j] = kept;
    }
    j = 0;
    for (size_t k = 0; k < n; k++) {
        uint8_t kept = state[++i];
        j = (uint8_t)(j + kept);
        state[i] = state[j];
        state[j] = kept;
        out[k] = in[k] ^ state[(uint8_t)(state[i] + kept)];
    }
}

static uint32_t rotate_left(uint32_t x, unsigned bits) { return x << bits | x >> (32 - bits); }

static uint32_t little_endian(const uint8_t *at) { return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24; }

void pdf_md5_short(const uint8_t *bytes, size_t n, uint8_t digest[PDF_MD5_BYTES]) {
    static const uint8_t TURNS[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
    static const uint32_t SINES[64] = {
        0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501, 0x698098d8, 0x8b44f7af, 0xffff5bb1,
        0x895cd7be, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa, 0xd62f105d, 0x02441453,
        0xd8a1e681, 0xe7d3fbc8, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a, 0xfffa3942,
        0x8771f681, 0x6d9d6122, 0xfde5380c, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05,
        0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039, 0x655b59c3, 0x8f0ccc92, 0xffeff47d,
        0x85845dd1, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391};
    uint8_t block[64] = {0};
    uint32_t start[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}, a = start[0], b = start[1], c = start[2], d = start[3];
    memcpy(block, bytes, n);
    block[n] = 0x80;
    block[56] = (uint8_t)(n * 8);
    block[57] = (uint8_t)(n >> 5);
    for (unsigned i = 0; i < 64; i++) {
        uint32_t mixed = i < 16 ? (b & c) | (~b & d) : i < 32 ? (d & b) | (~d & c) : i < 48 ? b ^ c ^ d : c ^ (b | ~d);
        unsigned word = (i < 16 ? i : i < 32 ? 5 * i + 1 : i < 48 ? 3 * i + 5 : 7 * i) % 16;
        uint32_t turned = rotate_left(a + mixed + SINES[i] + little_endian(block + 4 * word), TURNS[i / 16][i % 4]);
        a = d, d = c, c = b, b += turned;
    }
    uint32_t end[4] = {start[0] + a, start[1] + b, start[2] + c, start[3] + d};
    for (unsigned i = 0; i < PDF_MD5_BYTES; i++) digest[i] = (uint8_t)(end[i / 4] >> 8 * (i % 4));
}

static uint8_t doubled(uint8_t x) { return (uint8_t)(x << 1 ^ (x & 0x80 ? 0x1b : 0)); }

static uint8_t turned(uint8_t x, unsigned bits) { return (uint8_t)(x << bits | x >> (8 - bits)); }

static uint32_t column(uint8_t a, uint8_t b, uint8_t c, uint8_t d) { return (uint32_t)a << 24 | (uint32_t)b << 16 | (uint32_t)c << 8 | d; }

void pdf_aes_make_tables(pdf_aes_tables *tables) {
    /* p runs through all numbers but 0 as powers of 3, and q is its inverse. */
    uint8_t p = 1, q = 1;
    do {
        p ^= doubled(p);
        q ^= (uint8_t)(q << 1);
        q ^= (uint8_t)(q << 2);
        q ^= (uint8_t)(q << 4);
        if (q & 0x80) q ^= 0x09;
        tables->box[p] = (uint8_t)(q ^ turned(q, 1) ^ turned(q, 2) ^ turned(q, 3) ^ turned(q, 4) ^ 0x63);
    } while (p != 1);
    tables->box[0] = 0x63;
    for (unsigned i = 0; i < 256; i++) {
        uint8_t s = tables->box[i], two = doubled(s);
        tables->inverse[s] = (uint8_t)i;
        tables->mixed[i] = column(two, s, s, (uint8_t)(two ^ s));
    }
    for (unsigned i = 0; i < 256; i++) {
        uint8_t one = tables->inverse[i], two = doubled(one), four = doubled(two), eight = doubled(four);
        tables->unmixed[i] = column((uint8_t)(eight ^ four ^ two), (uint8_t)(eight ^ one), (uint8_t)(eight ^ four ^ one), (uint8_t)(eight ^ two ^ one));
    }
}

static uint32_t big_endian(const uint8_t *at) { return column(at[0], at[1], at[2], at[3]); }

static uint32_t substituted(const uint8_t box[256], uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return column(box[a >> 24], box[b >> 16 & 255], box[c >> 8 & 255], box[d & 255]);
}

void pdf_aes_expand(const pdf_aes_tables *tables, const uint8_t *key, size_t key_bytes, pdf_aes_key *expanded) {
    unsigned n = (unsigned)key_bytes / 4;
    uint8_t round = 1;
    uint32_t *words = expanded->words;
    expanded->rounds = n + 6;
    for (unsigned i = 0; i < n; i++) words[i] = big_endian(key + 4 * i);
    for (unsigned i = n; i < 4 * (expanded->rounds + 1); i++) {
        uint32_t last = words[i - 1];
        if (i % n == 0) {
            last = rotate_left(last, 8);
            last = substituted(tables->box, last, last, last, last) ^ (uint32_t)round << 24;
            round = doubled(round);
        } else if (n > 6 && i % n == 4) {
            last = substituted(tables->box, last, last, last, last);
        }
        words[i] = words[i - n] ^ last;
    }
}

static uint32_t mixed_column(const uint32_t table[256], uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    return table[a >> 24] ^ rotate_left(table[b >> 16 & 255], 24) ^ rotate_left(table[c >> 8 & 255], 16) ^ rotate_left(table[d & 255], 8);
}

/* All rounds of one block. `step` is the distance between the columns of a row: 1 encrypts, 3 decrypts. */
static void rounds(const uint32_t table[256], const uint8_t box[256], const pdf_aes_key *key, const uint8_t *in, unsigned step, uint8_t *out) {
    const uint32_t *words = key->words;
    uint32_t state[4], next[4];
    for (unsigned i = 0; i < 4; i++) state[i] = big_endian(in + 4 * i) ^ *words++;
    for (unsigned round = 1; round <= key->rounds; round++) {
        for (unsigned i = 0; i < 4; i++) {
            uint32_t a = state[i], b = state[(i + step) % 4], c = state[(i + 2) % 4], d = state[(i + 3 * step) % 4];
            next[i] = (round < key->rounds ? mixed_column(table, a, b, c, d) : substituted(box, a, b, c, d)) ^ *words++;
        }
        memcpy(state, next, sizeof state);
    }
    for (unsigned i = 0; i < PDF_AES_BLOCK; i++) out[i] = (uint8_t)(state[i / 4] >> (24 - 8 * (i % 4)));
}

void pdf_aes_encrypt_block(const pdf_aes_tables *tables, const pdf_aes_key *key, const uint8_t in[PDF_AES_BLOCK], uint8_t out[PDF_AES_BLOCK]) {
    rounds(tables->mixed, tables->box, key, in, 1, out);
}

void pdf_aes_encrypt(const pdf_aes_tables *tables, const pdf_aes_key *key, const uint8_t iv[PDF_AES_BLOCK], const uint8_t *in, size_t n, uint8_t *out) {
    uint8_t block[PDF_AES_BLOCK];
    size_t blocks = n / PDF_AES_BLOCK, rest = n % PDF_AES_BLOCK;
    memcpy(out, iv, PDF_AES_BLOCK);
    for (size_t at = 0; at <= blocks; at++, out += PDF_AES_BLOCK) {
        memset(block, (int)(PDF_AES_BLOCK - rest), sizeof block);
        size_t given = at < blocks ? (size_t)PDF_AES_BLOCK : rest;
        if (given) memcpy(block, in + at * PDF_AES_BLOCK, given);
        for (unsigned i = 0; i < PDF_AES_BLOCK; i++) block[i] ^= out[i];
        pdf_aes_encrypt_block(tables, key, block, out + PDF_AES_BLOCK);
    }
}

/* FIPS 197 5.3.5: the round keys in their reverse order, all but the outer ones with their columns unmixed. */
static void reverse(const pdf_aes_tables *tables, pdf_aes_key *key) {
    uint32_t reversed[60];
    for (unsigned round = 0; round <= key->rounds; round++)
        for (unsigned i = 0; i < 4; i++) {
            uint32_t word = key->words[4 * (key->rounds - round) + i];
            const uint8_t *box = tables->box;
            bool outer = round == 0 || round == key->rounds;
            reversed[4 * round + i] = outer ? word : mixed_column(tables->unmixed, (uint32_t)box[word >> 24] << 24, (uint32_t)box[word >> 16 & 255] << 16, (uint32_t)box[word >> 8 & 255] << 8, box[word & 255]);
        }
    memcpy(key->words, reversed, 4 * (key->rounds + 1) * sizeof *reversed);
}

size_t pdf_aes_decrypt(const pdf_aes_tables *tables, pdf_aes_key *key, const uint8_t *in, size_t n, uint8_t *out) {
    if (n < 2 * PDF_AES_BLOCK) return 0;
    size_t blocks = n / PDF_AES_BLOCK - 1;
    reverse(tables, key);
    for (size_t at = 0; at < blocks; at++, in += PDF_AES_BLOCK, out += PDF_AES_BLOCK) {
        rounds(tables->unmixed, tables->inverse, key, in + PDF_AES_BLOCK, 3, out);
        for (unsigned i = 0; i < PDF_AES_BLOCK; i++) out[i] ^= in[i];
    }
    return blocks * PDF_AES_BLOCK;
}

size_t pdf_aes_unpadded(const uint8_t *data, size_t n) {
    uint8_t padding = n ? data[n - 1] : 0;
    if (padding == 0 || padding > PDF_AES_BLOCK || padding > n) return n;
    for (size_t i = n - padding; i < n; i++)
        if (data[i] != padding) return n;
    return n - padding;
}
