"""The DER writer under atheris: whatever bytes of whatever lengths go in, what comes out is DER that says exactly that.

The first five bytes choose the credential and the lengths; the rest is message digest, signature value and time stamp.
"""

import hashlib
import sys
from datetime import UTC, datetime

import atheris
from asn1crypto import cms, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

with atheris.instrument_imports(include=["batchseal.formats.cms"]):
    from batchseal.algorithms import DIGEST_BYTES
    from batchseal.document import MAX_TIME_STAMP_BYTES, Credential
    from batchseal.errors import ItemRejected
    from batchseal.formats.cms import CmsTemplate

# The shortest signature that a key can give: two integers of one byte.
SHORTEST_SIGNATURE = 8
CANARY = "--canary" in sys.argv


def certificate(name: str, serial: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), serial)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2036, 1, 1, tzinfo=UTC)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


CHAIN = (certificate("Seal", 0xEEEEEEEE), certificate("Authority \u00e9", 1))
TEMPLATES = [
    CmsTemplate(Credential("c", CHAIN[:count], kind, longest, algorithm, b"", scheme))
    for count in (1, 2)
    for algorithm in DIGEST_BYTES
    for kind, longest, scheme in (("ec", 72, ""), ("rsa", 512, ""), ("rsa", 384, "pss"))
]


@atheris.instrument_func
def one_input(data: bytes) -> None:
    if len(data) < 5:
        return
    template = TEMPLATES[data[0] % len(TEMPLATES)]
    digest_bytes = DIGEST_BYTES[template.credential.digest_algorithm]
    signature_bytes = int.from_bytes(data[1:3]) % 640
    rest = data[5:]
    digest = rest[:digest_bytes].ljust(digest_bytes, b"\xff")
    signature = rest[digest_bytes : digest_bytes + signature_bytes].ljust(signature_bytes, b"\xee")
    timestamp = token(rest, int.from_bytes(data[3:5]) % MAX_TIME_STAMP_BYTES)
    if 0 < signature_bytes < SHORTEST_SIGNATURE:
        return
    try:
        der = template.signed_data(digest, signature, timestamp)
    except ItemRejected:
        assert not 0 < signature_bytes <= template.credential.signature_bytes
        return
    judge(template, der, digest, signature, timestamp)
    if CANARY and data[0] == ord("~"):
        raise AssertionError("the canary")


def token(rest: bytes, size: int) -> bytes:
    """Not a time stamp, but of its form; none for small sizes."""
    if size < 64:
        return b""
    content = (rest * (size // max(1, len(rest)) + 1))[:size] if rest else b"\xee" * size
    return bytes(cms.ContentInfo({"content_type": "data", "content": core.OctetString(content)}).dump())


def judge(template: CmsTemplate, der: bytes, digest: bytes, signature: bytes, timestamp: bytes) -> None:
    """Read by a parser, it holds what was given, nothing behind it, and in DER's one form."""
    info = cms.ContentInfo.load(der, strict=True)
    (signer,) = info["content"]["signer_infos"]
    assert signer["signature"].native == signature
    attributes = {attribute["type"].native: attribute["values"] for attribute in signer["signed_attrs"]}
    assert attributes["message_digest"][0].native == digest
    algorithm = template.credential.digest_algorithm
    as_set = signer["signed_attrs"].untag().dump()
    assert template.attributes_digest(digest) == hashlib.new(algorithm, as_set).digest()
    assert [choice.chosen.dump() for choice in info["content"]["certificates"]] == list(template.credential.chain)
    if timestamp:
        (stamped,) = signer["unsigned_attrs"]
        assert stamped["values"][0].dump() == timestamp
    else:
        assert len(der) <= template.contents_bytes
    walk(der, 0, len(der))


def walk(der: bytes, at: int, end: int) -> None:
    """X.690 10.1: lengths are definite and as short as can be, and what is constructed is filled by what it holds."""
    while at < end:
        constructed, first = der[at] & 0x20, der[at + 1]
        assert der[at] & 0x1F != 0x1F, "a tag of several bytes, which CMS has none of"
        at += 2
        size = first
        if first >= 0x80:
            size = int.from_bytes(der[at : at + first - 0x80])
            at += first - 0x80
            assert size >= 0x80, "a long form for a short length"
            assert first == 0x80 + (size.bit_length() + 7) // 8, "a length with zeros in front"
        assert at + size <= end, "a value longer than what holds it"
        if constructed:
            walk(der, at, at + size)
        at += size
    assert at == end


if __name__ == "__main__":
    atheris.Setup([argument for argument in sys.argv if argument != "--canary"], one_input)
    atheris.Fuzz()
