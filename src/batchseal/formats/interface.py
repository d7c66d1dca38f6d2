"""What a signature format is to the rest of the service.

A format turns an original document and a signature value into a signed document. It computes which digest must be signed, says
what it still needs once the digest is signed, and puts the signed document together. A format does no input or output, keeps no
state, and is called from several threads at once.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from batchseal.document import (
    DEFAULT_TIME_STAMP_BYTES,
    Credential,
    Description,
    Evidence,
    Prepared,
    Refusal,
    SignedDocument,
    Stretch,
)
from batchseal.operation import ContentType
from batchseal.signature import SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer

# So many documents at a time fill the lanes of the widest digest kernel twice.
BATCH_DOCUMENTS = 32

# A document as it came in: its ordinal, what was asked for it, its content.
Original = tuple[int, Description, "Buffer"]

# Books so many bytes of memory for a document that needs more than usual, and gives how many it may use. May raise NoRoom.
Memory = Callable[[int], AbstractContextManager[int]]


def unbooked(wanted_bytes: int) -> AbstractContextManager[int]:
    """A `Memory` without a ledger, for callers that prepare nothing that others sent."""
    return nullcontext(wanted_bytes)


class NeedKind(IntEnum):
    """What a signature can need from others after its digest was signed."""

    TIME_STAMP = 1  # a token of a time stamp authority (RFC 3161)
    VALIDATION_MATERIAL = 2  # certificates, OCSP responses and CRLs
    ARCHIVE_TIME_STAMP = 3  # a token over everything that the signature has so far


@dataclass(frozen=True, slots=True)
class Need:
    """The next thing that a document needs.

    For a time stamp, `imprint` is the SHA-256 digest that the token must be about. For validation material, `chains` are the
    certificates that it is about, in DER and the one of the signer or the authority first. `deflates`: the material is wanted
    as zlib data too.
    """

    kind: NeedKind
    imprint: bytes = b""
    chains: tuple[tuple[bytes, ...], ...] = ()
    deflates: bool = False


class SignatureFormat(Protocol):
    """One way of writing a signature, for some signature types and content types."""

    @property
    def name(self) -> str:
        """The name stands in every stored record, so it never changes."""
        ...

    @property
    def signs(self) -> frozenset[tuple[SignatureType, ContentType]]:
        """The requests that come to this format."""
        ...

    def offers(self, wanted: Description) -> Refusal | None:
        """Why this format cannot do what is wanted; None where it can. The content of the document is not looked at."""
        ...

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES,
        memory: Memory = unbooked,
    ) -> list[Prepared | Refusal]:
        """One result for each original, in order. Blocking, with the GIL released for the heavy part. `signing_time` is UTC.

        `time_stamp_bytes` is the room for a time stamp token, for a format whose room is part of what is signed. A format that
        takes a token of any length says MAX_TIME_STAMP_BYTES in `Prepared.time_stamp_bytes`. A document that needs more than a
        small share of its size takes it from `memory`. A document that cannot be signed for what it is, is refused with
        NOT_SIGNABLE, so that its caller learns that another try is of no use.

        Raises CredentialUnusable where nothing can be prepared for this credential, and what `memory` raises.
        """
        ...

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        """What the document needs next; None where it has all that its level asks for.

        `credential` is the one that the document was prepared for. The signer asks again after each need was met. Raises
        ItemRejected where the evidence does not fit what was prepared.
        """
        ...

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        """How much longer than the original the signed document is; for a signature that is a file of its own, its length.

        `evidence` is all that the document needs. The signer does not ask for documents of level B that are `is_exact`.
        `credential` is the one that the document was prepared for; it is needed above level T.
        """
        ...

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        """The signed document, as segments that nobody joins. `credential` is the one that the document was prepared for.

        A large original is a `Stretch`, whose bytes are not in memory: a format only takes its length, and slices of it.

        Raises ItemRejected where the evidence does not fit what was prepared.
        """
        ...
