"""Step 5 of the pipeline, for the stored documents of one operation."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from batchseal.document import Credential, Evidence, Prepared, SignedDocument, Stretch
from batchseal.errors import PayloadDamaged
from batchseal.formats.registry import Formats
from batchseal.payloads import records
from batchseal.payloads.operation import OperationReader

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Packaging:
    """Puts signed documents together from what is stored. Blocking; one thread at a time.

    Both methods raise PayloadDamaged where something is missing or is not what was written, PayloadUnavailable, and ItemRejected
    where the evidence does not fit what was prepared. `evidence` is by ordinal.
    """

    def __init__(self, reader: OperationReader, formats: Formats) -> None:
        self._reader = reader
        self._formats = formats
        self._credentials: dict[bytes, Credential] = {}  # by fingerprint
        self._shared = records.SharedContents(reader)

    def package(self, ordinal: int, original: "Buffer | Stretch", evidence: Mapping[int, Evidence]) -> SignedDocument:
        return self.with_plan(ordinal, original, evidence)[0]

    def with_plan(
        self, ordinal: int, original: "Buffer | Stretch", evidence: Mapping[int, Evidence]
    ) -> tuple[SignedDocument, Prepared]:
        """The signed document, and what was prepared of it."""
        prepared = records.read_prepared(self._reader, ordinal, self._shared)
        found = evidence.get(ordinal) or records.read_old_evidence(self._reader, [ordinal]).get(ordinal)
        if found is None:
            raise PayloadDamaged(f"the signature of document {ordinal} is not stored")
        credential = self._credential(prepared.fingerprint)
        return self._formats.named(prepared.format).package(original, prepared, found, credential), prepared

    def _credential(self, fingerprint: bytes) -> Credential:
        if fingerprint not in self._credentials:
            self._credentials[fingerprint] = records.read_credential(self._reader, fingerprint)
        return self._credentials[fingerprint]
