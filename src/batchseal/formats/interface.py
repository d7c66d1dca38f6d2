"""What a signature format is to the rest of the service.

A format turns an original document and a signature value into a signed document. It computes which digest must be signed, says
what it still needs once the digest is signed, and puts the signed document together. A format does no input or output, keeps no
state, and is called from several threads at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from typing import TYPE_CHECKING, Protocol

from batchseal.document import (
    Credential,
    Description,
    Evidence,
    Prepared,
    Refusal,
    SignatureType,
    SignedDocument,
    Stretch,
)
from batchseal.operation import ContentType

if TYPE_CHECKING:
    from typing_extensions import Buffer

# So many documents at a time fill the lanes of the widest digest kernel twice.
BATCH_DOCUMENTS = 32

# A document as it came in: its ordinal, what was asked for it, its content.
Original = tuple[int, Description, "Buffer"]


class NeedKind(IntEnum):
    """What a signature can need from others after its digest was signed."""

    TIME_STAMP = 1  # a token of a time stamp authority (RFC 3161)


@dataclass(frozen=True, slots=True)
class Need:
    """The next thing that a document needs. For a time stamp, `data` is what the token must be about."""

    kind: NeedKind
    data: bytes


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
        self, originals: Sequence[Original], credential: Credential, signing_time: datetime
    ) -> list[Prepared | Refusal]:
        """One result for each original, in order. Blocking, with the GIL released for the heavy part. `signing_time` is UTC.

        Raises CredentialUnusable where nothing can be prepared for this credential.
        """
        ...

    def next_need(self, prepared: Prepared, evidence: Evidence) -> Need | None:
        """What the document needs next; None where it has all that its level asks for.

        The signer asks again after each need was met. It does not ask for documents of level B, which need nothing.
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
