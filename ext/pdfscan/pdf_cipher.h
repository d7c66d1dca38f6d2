/* The ciphers and the digest of the standard security handler (ISO 32000-2 7.6.3): RC4, AES-128 and AES-256 in CBC, MD5.
 * Internal to pdfscan.
 *
 * They protect nothing here: the files that are read and written with them open for everybody, so their time may depend on
 * the key. Nothing else may use them. */
#ifndef BATCHSEAL_PDF_CIPHER_H
#define BATCHSEAL_PDF_CIPHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PDF_AES_BLOCK = 16, PDF_MD5_BYTES = 16, PDF_MD5_SHORT = 55 };

/* Encrypts or decrypts `n` bytes; `in` and `out` may be the same. */
void pdf_rc4(const uint8_t *key, size_t key_bytes, const uint8_t *in, size_t n, uint8_t *out);

/* The MD5 digest of at most PDF_MD5_SHORT bytes. */
void pdf_md5_short(const uint8_t *bytes, size_t n, uint8_t digest[PDF_MD5_BYTES]);

/* Tables that all keys share. They are made when they are needed, in two microseconds. */
typedef struct {
    uint32_t mixed[256], unmixed[256];
    uint8_t box[256], inverse[256];
} pdf_aes_tables;

typedef struct {
    uint32_t words[60];
    unsigned rounds;
} pdf_aes_key;

void pdf_aes_make_tables(pdf_aes_tables *tables);

/* `key_bytes` is 16 or 32. */
void pdf_aes_expand(const pdf_aes_tables *tables, const uint8_t *key, size_t key_bytes, pdf_aes_key *expanded);

void pdf_aes_encrypt_block(const pdf_aes_tables *tables, const pdf_aes_key *key, const uint8_t in[PDF_AES_BLOCK], uint8_t out[PDF_AES_BLOCK]);

/* The bytes that pdf_aes_encrypt() writes: the initialization vector, then the data with its padding. */
static inline size_t pdf_aes_length(size_t n) { return PDF_AES_BLOCK + n / PDF_AES_BLOCK * PDF_AES_BLOCK + PDF_AES_BLOCK; }

/* CBC with the padding of RFC 8018 6.2. */
void pdf_aes_encrypt(const pdf_aes_tables *tables, const pdf_aes_key *key, const uint8_t iv[PDF_AES_BLOCK], const uint8_t *in, size_t n, uint8_t *out);

/* Decrypts an initialization vector and what follows it, without a block that is not whole. `key` is changed into the one
 * that decrypts. Returns the length of the result with its padding. */
size_t pdf_aes_decrypt(const pdf_aes_tables *tables, pdf_aes_key *key, const uint8_t *in, size_t n, uint8_t *out);

/* The length of decrypted data without its padding. Where the padding is none, nothing is taken away. */
size_t pdf_aes_unpadded(const uint8_t *data, size_t n);

#endif
