"""PDFs that are encrypted by the standard security handler (ISO 32000-2 7.6), made from the small documents of the samples.

pyHanko derives the keys of revisions 2, 3, 4 and 6; what it does not know, revision 5 and unusual lengths, is made here. A test
may also give the file key itself, with entries that fit no password.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7
from harness.validators.samples import Seal, document, hybrid, text_field, with_stream, with_table
from pyhanko.pdf_utils.crypt import StandardSecurityHandler, StandardSecuritySettingsRevision
from pyhanko.pdf_utils.crypt.permissions import StandardPermissions

FILE_ID = bytes(range(16))
# All bits of /P, and those that permit to fill in forms (table 22).
ALLOWED = 0xFFFFFFFC
FILL, FILL_ALONE = 1 << 5, 1 << 8
# The file key of documents that are made without a password.
GIVEN_KEY = bytes(range(65, 97))
METHODS = {"RC4": b"V2", "AES-128": b"AESV2", "AES-256": b"AESV3"}
STRING = re.compile(rb"\((?:[^()\\]|\\.)*\)|<[0-9A-Fa-f\s]*>(?!>)", re.DOTALL)


@dataclass(frozen=True)
class Kind:
    """How a document is encrypted. `strings` and `streams` are of METHODS, or "none" for /Identity."""

    version: int
    revision: int
    key_bytes: int
    strings: str
    streams: str
    encrypts_metadata: bool = True

    @property
    def known_to_pyhanko(self) -> bool:
        """`cryptography`, which pyHanko uses, has RC4 with few lengths of the object's key, five bytes more than the file's."""
        return self.revision != 5 and self.key_bytes in (5, 16, 32)


KINDS = {
    "RC4-40, revision 2": Kind(1, 2, 5, "RC4", "RC4"),
    "RC4-40, revision 3": Kind(2, 3, 5, "RC4", "RC4"),
    "RC4-72": Kind(2, 3, 9, "RC4", "RC4"),
    "RC4-128": Kind(2, 3, 16, "RC4", "RC4"),
    "RC4-128, crypt filters": Kind(4, 4, 16, "RC4", "RC4"),
    "AES-128": Kind(4, 4, 16, "AES-128", "AES-128"),
    "AES-128, metadata in clear": Kind(4, 4, 16, "AES-128", "AES-128", encrypts_metadata=False),
    "AES-128, strings in clear": Kind(4, 4, 16, "none", "AES-128"),
    "AES-128, streams in clear": Kind(4, 4, 16, "AES-128", "none"),
    "AES-256, revision 5": Kind(5, 5, 32, "AES-256", "AES-256"),
    "AES-256, revision 6": Kind(5, 6, 32, "AES-256", "AES-256"),
    "AES-256, metadata in clear": Kind(5, 6, 32, "AES-256", "AES-256", encrypts_metadata=False),
    "AES-256, strings in clear": Kind(5, 6, 32, "none", "AES-256"),
}


def aes_cbc(key: bytes, data: bytes, iv: bytes = bytes(16)) -> bytes:
    """Without padding."""
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def rc4(key: bytes, data: bytes) -> bytes:
    state, j, out = list(range(256)), 0, bytearray()
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def encrypt(method: str, key: bytes, number: int, data: bytes, iv: bytes) -> bytes:
    """What stands in object `number`, generation 0 (7.6.3.2, 7.6.3.3)."""
    if method == "none":
        return data
    own = key
    if method != "AES-256":
        salt = b"sAlT" if method == "AES-128" else b""
        joined = key + number.to_bytes(3, "little") + bytes(2) + salt
        own = hashlib.md5(joined).digest()[: len(key) + 5]
    if method == "RC4":
        return rc4(own, data)
    padder = PKCS7(128).padder()
    return iv + aes_cbc(own, padder.update(data) + padder.finalize(), iv)


def sealing(
    kind: Kind, key: bytes, *, clear: frozenset[int] = frozenset(), random: Callable[[int], bytes] = os.urandom
) -> Seal:
    """Encrypts the strings and the stream of each object, except those in `clear`."""

    def seal(number: int, value: bytes) -> bytes:
        if number in clear:
            return value

        def string(found: re.Match[bytes]) -> bytes:
            text = found[0]
            data = bytes.fromhex(text[1:-1].decode()) if text.startswith(b"<") else text[1:-1]
            return b"<%s>" % encrypt(kind.strings, key, number, data, random(16)).hex().encode()

        dictionary, mark, rest = value.partition(b"\nstream\n")
        dictionary = STRING.sub(string, dictionary)
        if not mark:
            return dictionary
        data = rest.removesuffix(b"\nendstream")
        identity = b"/Crypt" in dictionary
        data = data if identity else encrypt(kind.streams, key, number, data, random(16))
        dictionary = re.sub(rb"/Length \d+", b"/Length %d" % len(data), dictionary)
        return dictionary + mark + data + b"\nendstream"

    return seal


def _crypt_filters(kind: Kind) -> bytes:
    if kind.version < 4:
        return b""
    method = METHODS[kind.streams if kind.strings == "none" else kind.strings]
    names = [b"/StdCF" if method != "none" else b"/Identity" for method in (kind.streams, kind.strings)]
    return b"/CF<</StdCF<</CFM/%s/Length %d>>>>/StmF%s/StrF%s" % (method, kind.key_bytes, names[0], names[1])


def _entries(kind: Kind, user: str, permissions: int) -> tuple[bytes, dict[str, bytes]]:
    """The file key, and the entries that let it be derived from the password."""
    signed = permissions - (1 << 32) if permissions >> 31 else permissions
    perms = StandardPermissions.from_sint32(signed)
    if kind.revision == 5:
        return _revision_5(user.encode(), permissions, kind.encrypts_metadata)
    if not kind.known_to_pyhanko:
        return _revision_3(user.encode(), permissions, kind.key_bytes)
    if kind.revision == 6:
        handler = StandardSecurityHandler.build_from_pw(
            "owner", user, perms=perms, encrypt_metadata=kind.encrypts_metadata, pdf_mac=False
        )
    else:
        handler = StandardSecurityHandler.build_from_pw_legacy(
            StandardSecuritySettingsRevision(kind.revision),
            FILE_ID,
            "owner",
            user,
            keylen_bytes=kind.key_bytes,
            use_aes128="AES-128" in (kind.strings, kind.streams),
            perms=perms,
            encrypt_metadata=kind.encrypts_metadata,
        )
    made: Any = handler.as_pdf_object()
    names = [name for name in ("O", "U", "OE", "UE", "Perms") if "/" + name in made]
    # In revision 2 only the first six bits say something, and the others are 1.
    assert made["/P"] in (signed, signed | -64)
    return handler.get_file_encryption_key(), {name: bytes(made.raw_get("/" + name).original_bytes) for name in names}


def _revision_3(user: bytes, permissions: int, key_bytes: int) -> tuple[bytes, dict[str, bytes]]:
    """7.6.4.3 and 7.6.4.4: algorithms 2 and 5. /O only has to be there."""
    owner, padding = os.urandom(32), bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    key = hashlib.md5((user + padding)[:32] + owner + permissions.to_bytes(4, "little") + FILE_ID).digest()
    for _ in range(50):
        key = hashlib.md5(key[:key_bytes]).digest()
    key, check = key[:key_bytes], hashlib.md5(padding + FILE_ID).digest()
    for number in range(20):
        check = rc4(bytes(byte ^ number for byte in key), check)
    return key, {"O": owner, "U": check + bytes(16)}


def _revision_5(user: bytes, permissions: int, encrypts_metadata: bool) -> tuple[bytes, dict[str, bytes]]:
    key = os.urandom(32)
    made: dict[str, bytes] = {}
    for name, password, more in (("U", user, b""), ("O", b"owner", b"?")):
        check, salt = os.urandom(8), os.urandom(8)
        known = made["U"] if more else b""
        made[name] = hashlib.sha256(password + check + known).digest() + check + salt
        made[name + "E"] = aes_cbc(hashlib.sha256(password + salt + known).digest(), key)
    clear = (
        permissions.to_bytes(4, "little") + b"\xff" * 4 + (b"T" if encrypts_metadata else b"F") + b"adb" + os.urandom(4)
    )
    made["Perms"] = aes_cbc(key, clear)
    return key, made


def dictionary(
    kind: Kind,
    *,
    user: str = "",
    permissions: int = ALLOWED,
    key: bytes | None = None,
    entries: Mapping[str, bytes] = {},
) -> tuple[bytes, bytes]:
    """The file key, and the encryption dictionary. `entries` replace its strings; with `key` nothing is derived."""
    made = dict.fromkeys(("O", "U"), bytes(32))
    permissions |= 0xFFFFFFC0 if kind.revision == 2 else 0
    if key is None:
        key, made = _entries(kind, user, permissions)
    strings = b"".join(
        b"/%s<%s>" % (name.encode(), value.hex().encode()) for name, value in {**made, **entries}.items()
    )
    signed = permissions - (1 << 32) if permissions >> 31 else permissions
    metadata = b"" if kind.encrypts_metadata else b"/EncryptMetadata false"
    numbers = (kind.version, kind.revision, 8 * kind.key_bytes, signed)
    return key, b"<</Filter/Standard/V %d/R %d/Length %d/P %d%s%s%s>>" % (
        *numbers,
        metadata,
        _crypt_filters(kind),
        strings,
    )


def encrypted(
    kind: Kind | str,
    objects: Mapping[int, bytes],
    form: str = "table",
    *,
    compressed: tuple[int, ...] = (),
    direct: bool = False,
    random: Callable[[int], bytes] = os.urandom,
    **options: Any,
) -> bytes:
    """A document in one of the forms "table", "stream" and "hybrid", in the latter two with `compressed` in an object stream.

    `direct` puts the encryption dictionary into the trailer. Other options are those of `dictionary`.
    """
    kind = KINDS[kind] if isinstance(kind, str) else kind
    key, text = dictionary(kind, **options)
    number = max(objects) + 1
    everything = dict(objects) if direct else {**objects, number: text}
    seal = sealing(kind, key, clear=frozenset() if direct else frozenset({number}), random=random)
    trailer = b"/Encrypt %s/ID[<%s><%s>]" % (
        text if direct else b"%d 0 R" % number,
        FILE_ID.hex().encode(),
        FILE_ID.hex().encode(),
    )
    if form == "table":
        return with_table(everything, trailer=trailer, seal=seal)
    if form == "hybrid":
        return hybrid(everything, compressed, trailer=trailer, seal=seal)
    return with_stream(everything, compressed=compressed, trailer=trailer, seal=seal)


def encrypted_samples() -> list[bytes]:
    """One document of each method with GIVEN_KEY, always the same, for the fuzz harness of the planner.

    They have a field "p.s" that can be signed, and a DSS dictionary.
    """
    objects = document(
        form=b"8 0 R",
        annots=b"[7 0 R]",
        catalog=b"/Lang(pt-PT)/DSS<</Certs[6 0 R]/VRI<</A<</TU(D:2020)>>>>>>",
        extra={
            7: text_field(b"(Signature1)"),
            8: b"<</Fields[7 0 R 10 0 R]/DA(/Helv 0 Tf)>>",
            10: b"<</T(p)/Kids[11 0 R]>>",
            11: b"<</Type/Annot/Subtype/Widget/FT/Sig/T<FEFF0073>/Rect[1 2.5 3 4]/Lock<</Action/Include/Fields[(x)]/P 2>>"
            b"/SV<</Ff 1/Filter/X/Reasons[(y)]>>>>",
        },
    )
    samples = []
    for name in ("RC4-40, revision 2", "AES-128", "AES-256, revision 6"):
        for form, compressed in (("table", ()), ("stream", (1, 2, 3, 4, 7, 8, 10, 11))):
            key = GIVEN_KEY[: KINDS[name].key_bytes]
            samples.append(encrypted(name, objects, form, compressed=compressed, key=key, random=bytes))
    return samples
