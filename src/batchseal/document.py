"""A document's types on its way: ReceivedDocument → PreparedDigest → SignatureValue → SignedDocument.

Each is frozen and carries what the next step needs, no more. Lengths are bytes; digests are SHA-256 unless the
credential says otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from batchseal.operation import ContentType, SignError

if TYPE_CHECKING:
    from typing_extensions import Buffer


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


@dataclass(frozen=True, slots=True)
class Description:
    """What the caller says of a document. `refusal` is set where it asks for what is not offered."""

    external_reference: str
    name: str
    content_type: ContentType
    reason: str | None
    location: str | None
    refusal: Refusal | None = None
    apply_timestamp: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedDocument:
    """A document as it came in. A multipart body may describe its files after it sent them: then `description` is None."""

    ordinal: int
    content: "Buffer"
    content_bytes: int
    description: Description | None


@dataclass(frozen=True, slots=True)
class PreparedDigest:
    """All that another process needs to sign and package a document; it is stored, so a crash signs the same digest again.

    The signed file is: original + head + `<` hex `>` (reserved_bytes in all) + tail.
    """

    ordinal: int
    head: bytes
    tail: bytes
    reserved_bytes: int
    message_digest: bytes  # of the ByteRange
    attributes_digest: bytes  # of the DER signed attributes: what goes upstream
    fingerprint: bytes  # of the credential it was prepared for
    timestamp: bool = False  # asked for: without one the document is not delivered

    @property
    def additional_bytes(self) -> int:
        """By how much the signed file is longer than the original."""
        return len(self.head) + self.reserved_bytes + len(self.tail)


class ToSign(NamedTuple):
    """What signing needs of a prepared digest."""

    ordinal: int
    attributes_digest: bytes
    additional_bytes: int
    timestamp: bool


def to_sign(prepared: PreparedDigest) -> ToSign:
    return ToSign(prepared.ordinal, prepared.attributes_digest, prepared.additional_bytes, prepared.timestamp)


@dataclass(frozen=True, slots=True)
class SignatureValue:
    """A signature that was verified against the digest and the certificate."""

    ordinal: int
    value: bytes


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
