"""PDFs that are encrypted, but open for everybody: derives the file key of the standard security handler from the empty password
(ISO 32000-2 7.6.4), so that the planner can read them and encrypt what it adds.

A document that takes another password, or a key of its own, is refused.
"""

import hashlib
import os
from typing import TYPE_CHECKING, Any, overload

from batchseal._native import planner

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from batchseal._native.pdf_encryption import Encryption, FileKey

# Algorithm 2 step a: what stands for an empty password.
PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
REHASHED, REENCRYPTED = 50, 19
LEAST_KEY, MOST_KEY = 5, 16
# /U and /O of revisions 5 and 6: a hash, then two salts, the second of which is for the key.
HASH_BYTES, SALT_BYTES = 32, 8
# Algorithm 2.B.
LEAST_ROUNDS = 64
SEED_BYTES = 16

Planned = planner.PlannedUpdate | planner.OtherRules | planner.OtherArea | planner.PlanRefusal


class Planning:
    """Plans updates of one document, as `planner.plan` does, also where it is encrypted and opens without a password.

    A call takes the options of `planner.plan`. The key is derived once; only one of the plans may be used.
    """

    def __init__(self, original: "Buffer") -> None:
        self._original = original
        self._key: FileKey | None = None

    @property
    def is_encrypted(self) -> bool:
        """Whether a call has found that the document is encrypted, and opens."""
        return self._key is not None

    @overload
    def __call__(self, *, appearance: None = None, **options: Any) -> "planner.PlannedUpdate | planner.PlanRefusal": ...
    @overload
    def __call__(self, *, appearance: planner.Appearance, **options: Any) -> Planned: ...
    def __call__(self, **options: Any) -> Planned:
        answer = planner.plan(self._original, file_key=self._key, **options)
        if isinstance(answer, Planned):
            return answer
        # Only processes that see encrypted documents load this.
        from batchseal._native.pdf_encryption import FileKey

        key = file_key(answer)
        if isinstance(key, planner.PlanRefusal):
            return key
        self._key = FileKey(key, answer.strings, answer.streams, os.urandom(SEED_BYTES))
        answer = planner.plan(self._original, file_key=self._key, **options)
        # With its key a document is never unread again.
        assert isinstance(answer, Planned)
        return answer


def file_key(encryption: "Encryption") -> "bytes | planner.PlanRefusal":
    """The file key, checked against what the document says of the empty password; or that this is not the password."""
    return _hashed_key(encryption) if encryption.revision < 5 else _wrapped_key(encryption)


def _refusal(code: str) -> planner.PlanRefusal:
    return planner.PlanRefusal(code, planner.refusal_codes()[code])


def _hashed_key(encryption: "Encryption") -> "bytes | planner.PlanRefusal":
    """Algorithm 2, and 4 to 6 for the check; revisions 2 to 4."""
    # Some writers leave out bytes at the end, or add some.
    owner, user = (entry[:HASH_BYTES].ljust(HASH_BYTES, b"\0") for entry in (encryption.owner, encryption.user))
    seen = PADDING + owner + encryption.permissions.to_bytes(4, "little") + encryption.file_id
    if encryption.revision >= 4 and not encryption.encrypts_metadata:
        seen += b"\xff" * 4
    for key_bytes in _lengths(encryption):
        key = _md5(seen)
        for _ in range(REHASHED if encryption.revision >= 3 else 0):
            key = _md5(key[:key_bytes])
        key = key[:key_bytes]
        if _opens(key, encryption, user):
            return key
    return _refusal("password_needed")


def _lengths(encryption: "Encryption") -> list[int]:
    """The lengths that the key may have in bytes. Writers disagree on where it stands and in which unit; the check decides."""
    if "AES-128" in (encryption.strings, encryption.streams):
        return [MOST_KEY]
    said = (encryption.key_bits // 8, encryption.key_bits)
    usual = (MOST_KEY, LEAST_KEY) if encryption.version > 1 else (LEAST_KEY, MOST_KEY)
    return [length for length in dict.fromkeys((*said, *usual)) if LEAST_KEY <= length <= MOST_KEY]


def _opens(key: bytes, encryption: "Encryption", user: bytes) -> bool:
    # As with AES, only processes that see such documents load it.
    from batchseal._native.pdf_ciphers import rc4

    if encryption.revision == 2:
        return rc4(key, PADDING) == user
    check = rc4(key, _md5(PADDING + encryption.file_id))
    for number in range(1, REENCRYPTED + 1):
        check = rc4(bytes(byte ^ number for byte in key), check)
    return check == user[: len(check)]


def _wrapped_key(encryption: "Encryption") -> "bytes | planner.PlanRefusal":
    """Algorithm 2.A for the user's password, and 13; revisions 5 and 6."""
    hashed = _hash_6 if encryption.revision == 6 else _hash_5
    check, salts = encryption.user[:HASH_BYTES], encryption.user[HASH_BYTES:]
    wrapped, confirmed = encryption.user_key[:32], encryption.confirmed_permissions[:16]
    if len(salts) < 2 * SALT_BYTES or len(wrapped) < 32 or len(confirmed) < 16:
        return _refusal("broken_encryption")
    if hashed(salts[:SALT_BYTES]) != check:
        return _refusal("password_needed")
    key = _aes_cbc(hashed(salts[SALT_BYTES : 2 * SALT_BYTES]), bytes(16), wrapped, encrypts=False)
    # One block of CBC with zeros before it is ECB.
    clear = _aes_cbc(key, bytes(16), confirmed, encrypts=False)
    if clear[9:12] != b"adb" or clear[:4] != encryption.permissions.to_bytes(4, "little"):
        return _refusal("broken_encryption")
    return key


def _hash_5(salt: bytes) -> bytes:
    """The hash of the empty password in revision 5, which was an extension by Adobe."""
    return hashlib.sha256(salt).digest()


def _hash_6(salt: bytes) -> bytes:
    """Algorithm 2.B of the empty password, without a user key; it ends after 287 rounds at most."""
    digest, rounds, last = hashlib.sha256(salt).digest(), 0, 255
    while rounds < LEAST_ROUNDS or last > rounds - 32:
        encrypted = _aes_cbc(digest[:16], digest[16:32], digest * 64, encrypts=True)
        # The first 16 bytes as a number modulo 3: 256 leaves 1.
        kind = ("sha256", "sha384", "sha512")[sum(encrypted[:16]) % 3]
        digest, rounds, last = hashlib.new(kind, encrypted).digest(), rounds + 1, encrypted[-1]
    return digest[:HASH_BYTES]


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


def _aes_cbc(key: bytes, iv: bytes, data: bytes, *, encrypts: bool) -> bytes:
    """Without padding."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    cipher = Cipher(algorithms.AES(key), modes.CBC(iv))
    context = cipher.encryptor() if encrypts else cipher.decryptor()
    return context.update(data) + context.finalize()
