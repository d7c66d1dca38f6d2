"""`OnDemand`: a format that is loaded with its first document.

A process that never sees such a document does without its code: the format for XML takes 0.8 MB of each worker and of the signer.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

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
from batchseal.formats.interface import Memory, Need, Original, SignatureFormat, unbooked
from batchseal.operation import ContentType
from batchseal.signature import SignatureType

if TYPE_CHECKING:
    from typing_extensions import Buffer


class OnDemand:
    """A `SignatureFormat` that stands for the one that `load` returns, which has the same `name` and `signs`."""

    def __init__(
        self, name: str, signs: frozenset[tuple[SignatureType, ContentType]], load: Callable[[], SignatureFormat]
    ) -> None:
        self.name = name
        self.signs = signs
        self._load = load

    @cached_property
    def _format(self) -> SignatureFormat:
        return self._load()

    def offers(self, wanted: Description) -> Refusal | None:
        return self._format.offers(wanted)

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES,
        memory: Memory = unbooked,
    ) -> list[Prepared | Refusal]:
        return self._format.prepare(originals, credential, signing_time, time_stamp_bytes, memory)

    def next_need(self, prepared: Prepared, evidence: Evidence, credential: Credential) -> Need | None:
        return self._format.next_need(prepared, evidence, credential)

    def added_bytes(self, prepared: Prepared, evidence: Evidence, credential: Credential | None = None) -> int:
        return self._format.added_bytes(prepared, evidence, credential)

    def package(
        self, original: "Buffer | Stretch", prepared: Prepared, evidence: Evidence, credential: Credential
    ) -> SignedDocument:
        return self._format.package(original, prepared, evidence, credential)
