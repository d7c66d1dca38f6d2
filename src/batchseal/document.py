"""The types that a document goes through: ReceivedDocument → Prepared → Evidence → SignedDocument.

Each type is frozen and holds what the next step needs. Lengths are in bytes. A digest is SHA-256 unless the credential uses
another algorithm. What is made for every document is a msgspec structure, since a frozen dataclass takes a tenth of the time that
packaging a document takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from batchseal.errors import BatchsealError
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureOptions, SignatureType, VisibleSignature

if TYPE_CHECKING:
    from typing_extensions import Buffer


# The room for a time stamp token, certificates included, where nothing is known of the authority. Earlier releases always
# reserved this much, and what they have stored does not say so.
DEFAULT_TIME_STAMP_BYTES = (8 << 10) - 64
# The longest token that is accepted. Those that are known have at most 12,465 bytes; a document has room for its token twice, in
# hexadecimal digits.
MAX_TIME_STAMP_BYTES = 48 << 10


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one document is not signed: a `SignError` and a cause that a person understands.

    The cause does not hold the document's name. Whoever shows it puts the name in front of it.
    """

    sign_error: SignError
    cause: str


def storage_refusal(problem: BatchsealError) -> Refusal:
    """The refusal of a document that the payload store does not give back."""
    return Refusal(SignError.STORAGE_SERVICE_GLOBAL_ERROR, problem.cause)


@dataclass(frozen=True, slots=True)
class Credential:
    """A key at the signing service, with its certificate chain.

    `chain` holds certificates in DER, the one of the signer first. `key_type` is "rsa" or "ec". `signature_bytes` is the length
    of the longest signature value of this key (for EC, of its longest DER form). `fingerprint` is the SHA-256 of the whole chain:
    what was prepared for one fingerprint is never signed under another one.
    """

    credential_id: str
    chain: tuple[bytes, ...]
    key_type: str
    signature_bytes: int
    digest_algorithm: str  # "sha256" | "sha384" | "sha512"
    fingerprint: bytes
    scheme: str = ""  # "pss" for RSASSA-PSS; empty for PKCS #1 v1.5 or ECDSA, by the type of the key


@dataclass(frozen=True, slots=True)
class CertificateEnd:
    """When the first certificate of the chain ends that a client service signs with."""

    client_service: str
    credential_id: str
    fingerprint: bytes
    subject: str
    not_after: datetime


@dataclass(frozen=True, slots=True)
class Description:
    """What the caller says about a document, and which signature the caller wants."""

    external_reference: str
    name: str
    content_type: ContentType
    reason: str | None
    location: str | None
    signature_type: SignatureType = SignatureType.PADES
    level: Level = Level.B
    visible: bool = False  # whether a visible signature is wanted
    options: SignatureOptions = SignatureOptions()
    other_type: str = ""  # the media type, where `content_type` is OTHER
    visible_signature: VisibleSignature | None = None  # what is drawn, where `visible` and the type is PAdES
    evidence_record: bool = False  # whether the digest of the signed document will be needed

    @property
    def seeks_place(self) -> bool:
        """Whether the document must be searched for the place of the visible signature before it is prepared."""
        return self.visible_signature is not None and self.visible_signature.place.is_sought


class DocumentPart(msgspec.Struct, frozen=True):
    """What has come of a document that is too large to be held. The `ReceivedDocument` that follows has the rest."""

    ordinal: int
    content: "Buffer"


class ReceivedDocument(msgspec.Struct, frozen=True):
    """A document as it arrived. `description` is None if a multipart body describes its files only after it has sent them.

    `content_bytes` is the length of the whole document. `content` lacks what came before as a `DocumentPart`.
    """

    ordinal: int
    content: "Buffer"
    content_bytes: int
    description: Description | None


class BegunDigest(msgspec.Struct, frozen=True):
    """The SHA-256 of a signed document as far as it is known before it is signed, so that its original is not read again.

    `state` is a kept `Sha256State` over the first `covered_bytes` of the signed document. `rest` are the last bytes of the
    original, where they come behind that and are few.
    """

    state: bytes
    covered_bytes: int
    rest: bytes = b""


class Prepared(msgspec.Struct, frozen=True):
    """A document that is ready to be signed. It is stored, so that after a crash the same digest is signed again.

    `digest` is what the signing service signs. `document_digest` is the digest of the content that the signed file contains,
    and the audit trail keeps it. What is sent back is at most `additional_bytes` longer than the original, or, where the
    signature is a file of its own, at most so long. `is_exact` says that it will be so long however the signature value turns
    out; a time stamp may still change it, and what levels above T add comes on top. Only the format can read `plan`. The
    longest time stamp token that the document has room for has `time_stamp_bytes`. `shared` is what the signed file contains and
    many documents have in common, such as an image: it is stored once, and `additional_bytes` counts it. `begun` is what is known
    ahead of the digest of the signed document, where an evidence record will need it.
    """

    ordinal: int
    format: str  # the name of the format in the registry
    digest: bytes
    document_digest: bytes
    fingerprint: bytes  # the fingerprint of the credential that the document was prepared for
    level: Level
    additional_bytes: int
    plan: bytes
    time_stamp_bytes: int = 0
    is_exact: bool = True
    shared: tuple[bytes, ...] = ()
    begun: BegunDigest | None = None


class ToSign(NamedTuple):
    """The parts of a `Prepared` that the signer needs of every document. The plan is left out, since it may be large."""

    ordinal: int
    digest: bytes
    additional_bytes: int
    level: Level
    time_stamp_bytes: int = 0
    is_exact: bool = True

    @property
    def ends_with_signature(self) -> bool:
        """Whether nothing has to be asked of the format once the signature value is there."""
        return self.level is Level.B and self.is_exact


def to_sign(prepared: Prepared) -> ToSign:
    """The parts that the signer needs."""
    return ToSign(
        prepared.ordinal,
        prepared.digest,
        prepared.additional_bytes,
        prepared.level,
        prepared.time_stamp_bytes,
        prepared.is_exact,
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """What other services have issued for one document: the signature value, which was verified, and time stamps (DER tokens).

    `material` is validation material as `formats/material.py` encodes it, one value for all documents that share it; empty where
    there is none. `archive_time_stamps` are tokens over everything before them.
    """

    signature: bytes
    time_stamps: tuple[bytes, ...] = ()
    material: bytes = b""
    archive_time_stamps: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """The bytes `start` to `stop` of an original that is too large for the memory. Whoever sends the document reads them.

    It has a length and can be sliced, as bytes can.
    """

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> "Stretch":
        start, stop, step = part.indices(len(self))
        if step != 1:
            raise ValueError("a stretch has no steps")
        return Stretch(self.start + start, self.start + max(start, stop))


def bytes_in(segment: "Buffer | Stretch") -> int:
    """The length of a part of a signed document."""
    return len(segment) if isinstance(segment, Stretch) else memoryview(segment).nbytes


@dataclass(frozen=True, slots=True)
class Material:
    """Validation material: what a verifier needs to judge certificates later. All in DER, without duplicates."""

    certificates: tuple[bytes, ...] = ()  # issuers, responders; the signer's own chain included
    ocsp_responses: tuple[bytes, ...] = ()  # OCSPResponse (RFC 6960)
    crls: tuple[bytes, ...] = ()  # CertificateList (RFC 5280)


class SignedDocument(msgspec.Struct, frozen=True):
    """A signed file as a sequence of parts. They are sent one after the other, and never joined in memory.

    Where the original was given as a `Stretch`, the parts that come from it are stretches too. `media_type` and `suffix` (such as
    `.p7m`) are those of the file, where it is of another type than the original.
    """

    ordinal: int
    segments: Sequence["Buffer | Stretch"]
    total_bytes: int
    media_type: str = ""
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """How one document ended. `refusal` is None if it is signed. `level` is the one that its signature has reached."""

    ordinal: int
    additional_bytes: int = 0
    refusal: Refusal | None = None
    level: Level | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a request says beside its documents. `descriptions` are those that came after the files which they describe."""

    external_reference: str
    description: str
    return_signed_content: bool | None
    documents_total: int
    preservation_asked: bool = False
    descriptions: Sequence[Description] = ()
