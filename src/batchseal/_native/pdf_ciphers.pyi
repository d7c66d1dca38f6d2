def rc4(key: bytes, data: bytes) -> bytes:
    """Encrypts or decrypts with a key of any length, which `cryptography` does not."""

def md5_short(data: bytes) -> bytes:
    """Returns the MD5 digest of at most 55 bytes, for tests."""

def aes_cbc(key: bytes, data: bytes, iv: bytes | None = None) -> bytes:
    """Encrypts `data` with padding and writes `iv` before it, or without `iv` decrypts what was so encrypted; for tests."""
