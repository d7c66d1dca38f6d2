"""`KnownFacts`: what this process knows of documents that it has just signed, so that the chain need not read their payloads."""

from batchseal.system.expiring import ExpiringCache

# The chain is about a second behind the ends of operations. What is forgotten before is read from its payload.
KNOWN_SECONDS = 60.0
KNOWN_OPERATIONS = 4096


class KnownFacts:
    """One for each signer: it is written where operations end, and read by the thread that prepares entries of the chain."""

    def __init__(self) -> None:
        self._facts = ExpiringCache[int, tuple[bytes, bytes]](KNOWN_OPERATIONS)

    def keep(self, operation_id: int, documents_digest: bytes, fingerprint: bytes) -> None:
        """All documents of the operation were signed: `chain.documents_digest` of them, and the credential that signed them."""
        self._facts.keep(operation_id, (documents_digest, fingerprint), KNOWN_SECONDS)

    def of(self, operation_id: int) -> tuple[bytes, bytes] | None:
        """What `keep` was told of an operation, or None."""
        found = self._facts.find(operation_id)
        return found[0] if found is not None else None
