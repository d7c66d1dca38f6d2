"""The types of a document on its way: ReceivedDocument → Prepared → Evidence → SignedDocument.

Each type is frozen and carries what the next step needs. Lengths are in bytes. Digests are SHA-256 unless the credential says
otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from batchseal.operation import ContentType, SignError

if TYPE_CHECKING:
    from typing_extensions import Buffer


# The longest time stamp token that is accepted, certificates included. Formats that reserve room reserve this much.
MAX_TIME_STAMP_BYTES = (8 << 10) - 64


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one document is not signed: the contract's `signError` and a cause that a person understands."""

    sign_error: SignError
    cause: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A key upstream with its certificate chain.

    `chain` is DER, the signer's certificate first. `key_type` is "rsa" or "ec"; `signature_bytes` is the longest
    signature value it gives (for EC the longest DER form). `fingerprint` is the SHA-256 of the whole chain: what was
    prepared under one fingerprint is signed under no other.
    """

    credential_id: str
    chain: tuple[bytes, ...]
    key_type: str
    signature_bytes: int
    digest_algorithm: str  # "sha256" | "sha384" | "sha512"
    fingerprint: bytes
    scheme: str = ""  # "pss" for RSASSA-PSS, else PKCS #1 v1.5 or ECDSA by the key's type


class SignatureType(IntEnum):
    """The families of advanced electronic signatures, by the document that they go into."""

    PADES = 1
    XADES = 2
    CADES = 3

    @property
    def label(self) -> str:
        """As callers write it."""
        return {1: "PAdES", 2: "XAdES", 3: "CAdES"}[self]


class Level(IntEnum):
    """What a signature carries beside itself (ETSI EN 319 142-1 6). Each level includes the ones before it."""

    B = 1  # nothing
    T = 2  # a time stamp over the signature value
    LT = 3  # the certificates and revocation data that prove it
    LTA = 4  # an archive time stamp over all of it


@dataclass(frozen=True, slots=True)
class Description:
    """What the caller says of a document, and which signature the caller wants in it."""

    external_reference: str
    name: str
    content_type: ContentType
    reason: str | None
    location: str | None
    signature_type: SignatureType = SignatureType.PADES
    level: Level = Level.B
    visible: bool = False  # a visible signature is asked for


@dataclass(frozen=True, slots=True)
class ReceivedDocument:
    """A document as it came in. A multipart body may describe its files after it sent them: then `description` is None."""

    ordinal: int
    content: "Buffer"
    content_bytes: int
    description: Description | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document that is ready to be signed. It is stored, so that a run after a crash signs the same digest again.

    `digest` is what the signing service signs. `document_digest` is what the signed file says of its content; the audit trail
    keeps it. The signed file has at most `additional_bytes` more than the original; exactly so many where the format says so, as
    PAdES does. `plan` is read by the format alone.
    """

    ordinal: int
    format: str  # its name in the registry of formats
    digest: bytes
    document_digest: bytes
    fingerprint: bytes  # of the credential that the document was prepared for
    level: Level
    additional_bytes: int
    plan: bytes


class ToSign(NamedTuple):
    """The parts of a `Prepared` that the signer needs for every document: without the plan, which may be large."""

    ordinal: int
    digest: bytes
    additional_bytes: int
    level: Level


def to_sign(prepared: Prepared) -> ToSign:
    return ToSign(prepared.ordinal, prepared.digest, prepared.additional_bytes, prepared.level)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What others have said of one document: the signature value, which was verified, and its time stamps (DER tokens)."""

    signature: bytes
    time_stamps: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A signed file as its parts, in order; joined by nobody."""

    ordinal: int
    segments: Sequence["Buffer"]
    total_bytes: int


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """How one document ended. `refusal` is None where it is signed."""

    ordinal: int
    additional_bytes: int = 0
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """The request around the documents. `descriptions` are those that came after their files."""

    external_reference: str
    description: str
    return_signed_content: bool | None
    documents_total: int
    preservation_asked: bool = False
    descriptions: Sequence[Description] = ()
