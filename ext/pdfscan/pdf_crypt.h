/* Encrypts and decrypts the strings and streams of a document whose file key is known (ISO 32000-2 7.6.3). Internal to
 * pdfscan.
 *
 * Strings of plain objects are encrypted one by one; of compressed objects only the object stream is, as a whole. So an
 * update may copy a plain object as it stands, as long as it keeps its number, but must take a compressed one by
 * pdf_take(). */
#ifndef BATCHSEAL_PDF_CRYPT_H
#define BATCHSEAL_PDF_CRYPT_H

#include "pdfscan/pdf_cipher.h"
#include "pdfscan/pdf_document.h"

enum { PDF_MOST_TAKEN = 32 };

/* The keys of an encrypted document. Each encryption with AES takes an initialization vector of its own, which is a
 * counter encrypted with the caller's seed: nobody can foresee it, and the same seed gives the same plan. */
struct pdf_crypt {
    const pdf_unlock *unlock;
    uint32_t taken[PDF_MOST_TAKEN]; /* numbers of compressed objects */
    unsigned taken_count;
    pdf_aes_tables tables;
    pdf_aes_key seed;
    uint64_t vectors; /* that were made */
    bool keeps_metadata_clear; /* /EncryptMetadata is false */
};

/* Starts with a file key of the caller; NULL if memory runs out. */
pdf_crypt *pdf_start_crypt(pdf_arena *arena, const pdf_unlock *unlock);

/* Writes all that goes on encrypting later, the key too, and starts again with that. What was kept is not trusted: if it cannot
 * be such bytes, or memory runs out, the answer is NULL. */
void pdf_keep_crypt(const pdf_crypt *crypt, pdf_buffer *out);
pdf_crypt *pdf_restart_crypt(pdf_arena *arena, const uint8_t *kept, size_t n);

/* Replaces the raw bytes of a stream of the object by decrypted ones. Their work is counted. */
pdf_refusal pdf_decrypt_stream(pdf_document *doc, const pdf_object *holder, pdf_span *data);

/* Whether the document says that streams are encrypted; the length that data of a stream has then. */
static inline bool pdf_encrypts_streams(const pdf_document *doc) { return doc->crypt && doc->crypt->unlock->streams != PDF_NOT_ENCRYPTED; }
size_t pdf_encrypted_length(const pdf_document *doc, size_t n);

/* Writes a string of these bytes as a part of the object, or the data of a stream, encrypted if the document is. */
void pdf_put_string(pdf_document *doc, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n);
void pdf_encrypt_stream(pdf_document *doc, pdf_buffer *out, uint32_t num, uint32_t gen, const uint8_t *bytes, size_t n);

/* Decodes a string that stands in the object `holder`, and decrypts it if it is encrypted there. Gives at most `room` bytes,
 * and returns their number. */
size_t pdf_read_string(pdf_document *doc, const pdf_object *holder, pdf_span value, uint8_t *out, size_t room);

/* Appends all bytes of a string that stands in the object `holder`, decrypted if it is encrypted there, and counts them as work.
 * Returns false over the limit of work, or if memory runs out. */
bool pdf_append_string(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out);

/* Copies a value that stands in the object `holder` into another object. Its strings get the encryption of that one. */
pdf_refusal pdf_put_moved(pdf_document *doc, const pdf_object *holder, pdf_span value, pdf_buffer *out, uint32_t num, uint32_t gen);

/* Makes a loaded object one that an update can copy from. A plain object stays as it is. In a compressed one of an encrypted
 * document the strings are clear; its value becomes a copy in which they are encrypted. */
pdf_refusal pdf_take(pdf_document *doc, pdf_object *object);

/* Whether an update may write object `num`: it is new, or plain, or was taken. */
bool pdf_is_taken(pdf_document *doc, uint32_t num);

#endif
