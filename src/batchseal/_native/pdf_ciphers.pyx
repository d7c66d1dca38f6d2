# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""The ciphers with which the planner reads and writes encrypted PDFs (ISO 32000-2 7.6.3).

The formats take RC4 from here; the rest is there so that tests can compare it with other
libraries. Nothing is protected by these ciphers, since the documents open for everybody.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t


cdef extern from "pdfscan/pdf_cipher.h" nogil:
    ctypedef struct pdf_aes_tables:
        pass
    ctypedef struct pdf_aes_key:
        pass
    enum:
        PDF_AES_BLOCK
        PDF_MD5_BYTES
        PDF_MD5_SHORT
    void pdf_rc4(const uint8_t *key, size_t key_bytes, const uint8_t *data, size_t n, uint8_t *out)
    void pdf_md5_short(const uint8_t *data, size_t n, uint8_t *digest)
    void pdf_aes_make_tables(pdf_aes_tables *tables)
    void pdf_aes_expand(
        const pdf_aes_tables *tables, const uint8_t *key, size_t key_bytes, pdf_aes_key *expanded)
    size_t pdf_aes_length(size_t n)
    void pdf_aes_encrypt(
        const pdf_aes_tables *tables, const pdf_aes_key *key, const uint8_t *iv,
        const uint8_t *data, size_t n, uint8_t *out)
    size_t pdf_aes_decrypt(
        const pdf_aes_tables *tables, pdf_aes_key *key, const uint8_t *data, size_t n, uint8_t *out)
    size_t pdf_aes_unpadded(const uint8_t *data, size_t n)


def rc4(bytes key, bytes data):
    """Encrypts or decrypts with a key of any length, which `cryptography` does not."""
    out = bytearray(len(data))
    cdef uint8_t[::1] view = out
    if not key:
        raise ValueError("the key is empty")
    if data:
        pdf_rc4(<const uint8_t *> <const char *> key, len(key), <const uint8_t *> <const char *> data, len(data), &view[0])
    return bytes(out)


def md5_short(bytes data):
    """Returns the MD5 digest of at most 55 bytes, for tests."""
    cdef uint8_t digest[PDF_MD5_BYTES]
    if len(data) > PDF_MD5_SHORT:
        raise ValueError("too long")
    pdf_md5_short(<const uint8_t *> <const char *> data, len(data), digest)
    return PyBytes_FromStringAndSize(<const char *> digest, PDF_MD5_BYTES)


def aes_cbc(bytes key, bytes data, bytes iv=None):
    """Encrypts `data` with padding and writes `iv` before it, or without `iv` decrypts what was so encrypted; for tests."""
    cdef pdf_aes_tables tables
    cdef pdf_aes_key expanded
    cdef size_t n
    if len(key) not in (16, 32) or (iv is not None and len(iv) != PDF_AES_BLOCK):
        raise ValueError("wrong length")
    out = bytearray(pdf_aes_length(len(data)))
    cdef uint8_t[::1] view = out
    pdf_aes_make_tables(&tables)
    pdf_aes_expand(&tables, <const uint8_t *> <const char *> key, len(key), &expanded)
    if iv is not None:
        pdf_aes_encrypt(
            &tables, &expanded, <const uint8_t *> <const char *> iv, <const uint8_t *> <const char *> data, len(data), &view[0])
        return bytes(out)
    n = pdf_aes_decrypt(&tables, &expanded, <const uint8_t *> <const char *> data, len(data), &view[0])
    return bytes(out[:pdf_aes_unpadded(&view[0], n)])
