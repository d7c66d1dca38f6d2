"""Judges a time stamp token that is like one before it, without a parser.

The tokens of one authority differ in few bytes: serial number, time, imprint, nonce, digest and signature. All else (the
certificates, the algorithms, the other signed attributes) is the same, byte for byte, as in a token that `timestamps` has judged
in full. So what was found about it still counts: the signer's certificate, its purpose, that the attributes name it, and its path
to a root. The path counts while every certificate on it is valid.

What differs is judged for each token: imprint, nonce, time, digest and signature. A reply that is not right in every point, or
not in DER, is not refused here but left to `timestamps`, which says why. So this can only say yes, and only where that would.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from batchseal.document import MAX_TIME_STAMP_BYTES
from batchseal.upstream.verify import DIGESTS, verify_answer

CLOCK_SECONDS = 300  # the largest difference between an authority's clock and ours
CLOCK = timedelta(seconds=CLOCK_SECONDS)
MOST_SIGNERS = 16  # an authority may have several machines, each with a certificate of its own
SEQUENCE, SET, INTEGER, OCTET_STRING, OID, CONTEXT_0 = 0x30, 0x31, 0x02, 0x04, 0x06, 0xA0
GENERALIZED_TIME, BOOLEAN, CONTEXT_1 = 0x18, 0x01, 0xA1
GRANTED = bytes.fromhex("3003020100")
SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")
TST_INFO = bytes.fromhex("060b2a864886f70d0109100104")
MESSAGE_DIGEST = bytes.fromhex("06092a864886f70d010904")
SIGNING_TIME = bytes.fromhex("06092a864886f70d010905")
# A MessageImprint in front of its digest, with the NULL that parameters of SHA-256 may be, and without.
IMPRINTS = bytes.fromhex("3031300d060960864801650304020105000420"), bytes.fromhex("302f300b06096086480165030402010420")
UNLIKE = "the token is not like one before it"
# What may follow the time in a TSTInfo: accuracy, ordering, nonce, tsa, extensions.
AFTER_TIME = [SEQUENCE, BOOLEAN, INTEGER, CONTEXT_0, CONTEXT_1]

Part = tuple[int, int, int]
"""Where a value begins, where its contents begin, and where it ends."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What tokens of one signer have in common: the bytes around what differs.

    `data` are the fields of SignedData without the content, `signer` those of SignerInfo around the signed attributes,
    `attributes` those that do not differ.
    """

    data: bytes
    signer: bytes
    attributes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found about a signer. The times are those between which all certificates of its path are valid."""

    certificate: x509.Certificate
    digest_name: str
    pss: bool
    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Parts:
    """A token taken apart: its shape and what differs."""

    shape: Shape
    token: bytes
    content: bytes
    message_digest: bytes
    signed: bytes
    """The signed attributes as they are signed."""
    signature: bytes


class KnownSigners:
    """The verdicts about the signers of the latest tokens. For one set of roots; may be used by several threads at once."""

    def __init__(self) -> None:
        self._verdicts: OrderedDict[Shape, Verdict] = OrderedDict()

    def token(self, reply: bytes, imprint: bytes, nonce: int) -> bytes | None:
        """The verified token of a reply; None where the reply must be judged in full."""
        try:
            parts = take_apart(reply)
            verdict = self._verdicts.get(parts.shape)
            if verdict is None:
                return None
            moment = time_in(parts.content, imprint, nonce)
            if abs(moment - datetime.now(UTC)) > CLOCK or not verdict.begins <= moment <= verdict.ends:
                return None
            if hashlib.new(verdict.digest_name, parts.content).digest() != parts.message_digest:
                return None
            key = verdict.certificate.public_key()
            verify_answer(key, parts.signature, parts.signed, DIGESTS[verdict.digest_name], pss=verdict.pss)
        except (ValueError, IndexError, InvalidSignature):
            return None
        return parts.token if len(parts.token) <= MAX_TIME_STAMP_BYTES else None

    def remember(self, reply: bytes, path: Sequence[x509.Certificate], digest_name: str, *, pss: bool) -> None:
        """Keeps what was found about the signer of a reply that was judged in full. `path` leads from it to a root."""
        try:
            shape = take_apart(reply).shape
        except (ValueError, IndexError):
            return  # each of its replies is judged in full
        begins = max(one.not_valid_before_utc for one in path)
        ends = min(one.not_valid_after_utc for one in path)
        self._verdicts[shape] = Verdict(path[0], digest_name, pss, begins, ends)
        while len(self._verdicts) > MOST_SIGNERS:
            self._verdicts.popitem(last=False)


def take_apart(reply: bytes) -> Parts:
    """The parts of a granted TimeStampResp (RFC 3161 2.4.2, RFC 5652 5). Raises ValueError, IndexError."""
    (whole,) = values(reply, 0, len(reply), SEQUENCE)
    status, token = values(reply, whole[1], whole[2], SEQUENCE, SEQUENCE)
    if reply[status[0] : status[2]] != GRANTED:
        raise ValueError(UNLIKE)
    kind, explicit = values(reply, token[1], token[2], OID, CONTEXT_0)
    (signed,) = values(reply, explicit[1], explicit[2], SEQUENCE)
    fields = values(reply, signed[1], signed[2], INTEGER, SET, SEQUENCE, CONTEXT_0, SET)
    _, _, inside, certificates, signers = fields
    content_kind, around = values(reply, inside[1], inside[2], OID, CONTEXT_0)
    (content,) = values(reply, around[1], around[2], OCTET_STRING)
    if reply[kind[0] : kind[2]] != SIGNED_DATA or reply[content_kind[0] : content_kind[2]] != TST_INFO:
        raise ValueError(UNLIKE)
    (signer,) = values(reply, signers[1], signers[2], SEQUENCE)
    # version, sid, digestAlgorithm, signedAttrs, signatureAlgorithm, signature; an unsigned attribute makes it another form.
    version, sid, _, attributes, algorithm, signature = values(
        reply, signer[1], signer[2], INTEGER, 0, SEQUENCE, CONTEXT_0, SEQUENCE, OCTET_STRING
    )
    if reply[sid[0]] not in (SEQUENCE, 0x80):
        raise ValueError(UNLIKE)
    message_digest, others = b"", list[bytes]()
    for one in values_of_any(reply, attributes[1], attributes[2], SEQUENCE):
        if reply.startswith(MESSAGE_DIGEST, one[1]):
            kind, held = values(reply, one[1], one[2], OID, SET)
            (digest,) = values(reply, held[1], held[2], OCTET_STRING)
            if message_digest:
                raise ValueError(UNLIKE)
            message_digest = reply[digest[1] : digest[2]]
        elif not reply.startswith(SIGNING_TIME, one[1]):
            others.append(reply[one[0] : one[2]])
    shape = Shape(
        reply[signed[1] : inside[0]] + reply[certificates[0] : certificates[2]],
        reply[version[0] : attributes[0]] + reply[algorithm[0] : algorithm[2]],
        tuple(others),
    )
    # The signature is over the attributes as an explicit SET OF, in the token they are [0] IMPLICIT (RFC 5652 5.4).
    over = bytes((SET,)) + reply[attributes[0] + 1 : attributes[2]]
    return Parts(
        shape,
        reply[token[0] : token[2]],
        reply[content[1] : content[2]],
        message_digest,
        over,
        reply[signature[1] : signature[2]],
    )


def time_in(content: bytes, imprint: bytes, nonce: int) -> datetime:
    """The time in a DER TSTInfo that is about this SHA-256 digest and has this nonce. Raises ValueError, IndexError."""
    (info,) = values(content, 0, len(content), SEQUENCE)
    version, policy, stamped, number, moment, *more = values_of_any(content, info[1], info[2])
    tags = [content[one[0]] for one in (version, policy, stamped, number, moment)]
    if tags != [INTEGER, OID, SEQUENCE, INTEGER, GENERALIZED_TIME]:
        raise ValueError(UNLIKE)
    if content[stamped[0] : stamped[2]] not in [before + imprint for before in IMPRINTS]:
        raise ValueError(UNLIKE)
    places = [AFTER_TIME.index(content[one[0]]) for one in more]
    if places != sorted(set(places)):
        raise ValueError(UNLIKE)
    (found,) = (one for one in more if content[one[0]] == INTEGER)
    if content[found[1] : found[2]] != nonce.to_bytes(nonce.bit_length() // 8 + 1, "big"):
        raise ValueError(UNLIKE)
    # The form of RFC 3161 2.4.2, with fractions of a second or without.
    text = content[moment[1] : moment[2]].decode("ascii")
    form = {"Z": "%Y%m%d%H%M%SZ", ".": "%Y%m%d%H%M%S.%fZ"}.get(text[14:15])
    if form is None or not text[:14].isdigit():
        raise ValueError(UNLIKE)
    return datetime.strptime(text, form).replace(tzinfo=UTC)


def values(data: bytes, at: int, end: int, *tags: int) -> list[Part]:
    """The values in this stretch, whose tags must be these; 0 stands for any. Raises ValueError, IndexError."""
    found = values_of_any(data, at, end)
    if len(found) != len(tags):
        raise ValueError(UNLIKE)
    for part, tag in zip(found, tags, strict=True):
        if tag not in (0, data[part[0]]):
            raise ValueError(UNLIKE)
    return found


def values_of_any(data: bytes, at: int, end: int, tag: int = 0) -> list[Part]:
    """The same for any number of values, which all have this tag. Each length must have its shortest form (X.690 10.1)."""
    found = list[Part]()
    while at < end:
        length, begin = data[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[begin : begin + size], "big")
            if not 0 < size <= 3 or length < (0x80 if size == 1 else 1 << 8 * (size - 1)):
                raise ValueError(UNLIKE)
            begin += size
        if begin + length > end or tag not in (0, data[at]) or data[at] & 0x1F == 0x1F:
            raise ValueError(UNLIKE)
        found.append((at, begin, begin + length))
        at = begin + length
    return found
